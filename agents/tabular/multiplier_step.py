"""The projected gradient step of the multipliers, shared by all primal-dual solvers."""

from __future__ import annotations

import numpy as np


def multiplier_step(
    multipliers: np.ndarray,
    violation: np.ndarray,
    step_size: float,
    cap: float,
    decay: float = 0.0,
) -> np.ndarray:
    """Return clip((1 - eta decay) lambda + eta (V_c - limit), 0, cap), shape (m,).

    A decay above zero is the gradient of the term (decay / 2) lambda^2 of a regularized
    Lagrangian. The cap is the U of Ding et al. (2020), who require it to be >= 2 / ((1 - discount)
    xi) for a policy that keeps every V_c at least xi below its limit.
    """
    moved = (1.0 - step_size * decay) * multipliers + step_size * violation
    return np.clip(moved, 0.0, cap)
