"""The port of environments that know which actions are safe: `env.unwrapped.action_constraint()`.

The constraint is known from the observation alone, so that an agent can repair its own actions
with what it sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from safe_envs.action_constraints.rows import QuadraticRows


@dataclass(frozen=True, eq=False)
class ActionConstraint:
    """Which actions are allowed: those in a box that meet the rows.

    Args:
        low: finite lower bounds of the action, (n,) float64.
        high: finite upper bounds, (n,).
        rows: from observations (B, ...) to the rows at them, NumPy arrays of float64.
        meaning: what the rows keep, in a few words, such as "the next state in C_inf".
    """

    low: np.ndarray
    high: np.ndarray
    rows: Callable[[np.ndarray], QuadraticRows]
    meaning: str


@runtime_checkable
class OffersActionConstraint(Protocol):
    """An environment, single or in native vector form, that knows which actions are allowed."""

    def action_constraint(self, *arguments: Any) -> ActionConstraint:
        """Return the constraint on single actions."""
        ...
