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
        around: rows that are linearized at given actions (B, n) within the box, from observations
            and actions; `rows` are those at one fixed action. None if the rows are exact.
    """

    low: np.ndarray
    high: np.ndarray
    rows: Callable[[np.ndarray], QuadraticRows]
    meaning: str
    around: Callable[[np.ndarray, np.ndarray], QuadraticRows] | None = None

    def rows_at(self, observations: np.ndarray, actions: np.ndarray) -> QuadraticRows:
        """Return the rows for repairs of these actions, (B, n), within the box."""
        if self.around is None:
            return self.rows(observations)
        return self.around(observations, actions)


@runtime_checkable
class OffersActionConstraint(Protocol):
    """An environment, single or in native vector form, that knows which actions are allowed."""

    def action_constraint(self) -> ActionConstraint:
        """Return the constraint on single actions."""
        ...


def checked_observations(observations: Any, size: int) -> np.ndarray:
    """Return a batch of observations as float64, (B, size); NaN stays.

    Raises:
        ValueError: if they have another shape.
    """
    given = np.asarray(observations, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != size:
        raise ValueError(
            f"observations have shape {given.shape}; pass a batch of the environment's own, of "
            f"shape (B, {size})"
        )
    return given
