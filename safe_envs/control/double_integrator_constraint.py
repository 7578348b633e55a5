"""Which actions of the double integrator are allowed, as a function of its observation x.

    "invariant_set":  A x + B u in C_inf, the rows of the filter's barrier
    "lyapunov":       V(A x + B u) <= decay V(x)   with V(x) = x'P x of the optimal controller

The second is one quadratic row in u,

    alpha u^2 + 2 beta u + gamma <= 0,
    alpha = B'P B,   beta = B'P A x,   gamma = x'A'P A x - decay x'P x.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from safe_envs.action_constraints.action_constraint import ActionConstraint, checked_observations
from safe_envs.action_constraints.rows import QuadraticRows, at_least
from safe_envs.contract.argument_checks import check_choice
from safe_envs.control.double_integrator_plant import (
    INPUT_MATRIX,
    STATE_MATRIX,
    invariant_set_barrier,
)
from safe_envs.control.double_integrator_reference import MAX_ACTION, linear_quadratic_regulator
from safe_envs.safety_filters.barriers import AffineBarrier

ConstraintKind = Literal["invariant_set", "lyapunov"]
ROUNDING = 1e-9  # in units of u: so that no repaired state is outside by its last digit
DECAY = 0.95  # a step; the optimal controller, unclipped, reaches 0.9055 in the worst direction


def double_integrator_constraint(
    kind: ConstraintKind = "invariant_set", decay: float = DECAY
) -> ActionConstraint:
    """Return the constraint on actions.

    - "invariant_set": the next state is in C_inf. From every state of C_inf some action is
      allowed, so a repaired episode that starts there never leaves the box.
    - "lyapunov": V falls to the fraction `decay` or below. The clipped optimal controller does
      that wherever |K x| <= 1, if decay >= 0.9055; far from the origin no force may be strong
      enough. It does not keep the box.

    Args:
        kind: of constraint.
        decay: of "lyapunov", in (0, 1].

    Raises:
        ValueError: if an argument is out of its range.
    """
    check_choice("kind", kind, ("invariant_set", "lyapunov"))
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"decay is {decay}; pass a number in (0, 1]")
    box = np.array([MAX_ACTION])
    if kind == "lyapunov":
        return ActionConstraint(
            -box, box, partial(_decrease, decay), f"V of the next state is at most {decay:g} V"
        )
    # The margin of the filter's barrier is for its slack; without one, rounding is left.
    barrier = replace(invariant_set_barrier(), margin=ROUNDING)
    return ActionConstraint(-box, box, partial(_next_in_set, barrier), "the next state in C_inf")


def _next_in_set(barrier: AffineBarrier, observations: np.ndarray) -> QuadraticRows:
    states = checked_observations(observations, 2)
    return at_least(*barrier.batch(states.T, np.empty((1, len(states)))))


def _decrease(decay: float, observations: np.ndarray) -> QuadraticRows:
    states = checked_observations(observations, 2)
    value = linear_quadratic_regulator().value_matrix
    drift = states @ STATE_MATRIX.T  # A x, (B, 2)
    alpha = INPUT_MATRIX.T @ value @ INPUT_MATRIX  # (1, 1)
    beta = drift @ value @ INPUT_MATRIX  # (B, 1)
    gamma = ((drift @ value) * drift).sum(axis=1) - decay * ((states @ value) * states).sum(axis=1)
    upper = -gamma[:, None]
    return QuadraticRows(2.0 * beta[:, :, None], np.full_like(upper, -np.inf), upper, alpha[None])
