"""Barriers: the rows A u >= b under which an action keeps a system safe.

`AffineBarrier` keeps a linear system in a polytope. A function `rows(state, reference) -> (A, b)`
works as well, and environments may have barriers of their own, see `filter_plant`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from safe_envs.contract.argument_checks import check_not_negative
from safe_envs.safety_filters.filter_plant import (
    Barrier,
    BarrierRows,
    FilterPlant,
    RowFunction,
    Rows,
)
from safe_envs.safety_filters.quadratic_program import checked_rows


def resolved_barrier(
    barrier: Barrier | RowFunction | None, plant: FilterPlant
) -> Callable[[], BarrierRows]:
    """Return a function that gives the barrier's rows in the present scene.

    Args:
        barrier: what the user passed; None for the plant's own.
        plant: what is to be kept safe.

    Raises:
        ValueError: if the plant has no barrier of its own, or the barrier is not made for it.
        TypeError: if it is not a barrier.
    """
    chosen = plant.barrier if barrier is None else barrier
    if chosen is None:
        raise ValueError(
            "this environment has no barrier of its own; pass an AffineBarrier or a function "
            "rows(state, reference) -> (A, b)"
        )
    if isinstance(chosen, Barrier):
        return chosen.rows_on(plant)
    if callable(chosen):
        return CheckedRows(chosen, len(plant.low)).here
    raise TypeError(
        f"barrier is {barrier!r}; pass an AffineBarrier, a function rows(state, reference) -> "
        "(A, b), or a barrier made for the environment"
    )


@dataclass(frozen=True, eq=False)
class CheckedRows:
    """The rows of a function, with their shapes and entries checked in every call.

    Args:
        function: returns A (k, m) and b (k,) at a state and a reference.
        count: entries of u, m.
        together: returns A (N, k, m) and b (N, k) of a batch; None to call `function` N times.
    """

    function: RowFunction
    count: int
    together: RowFunction | None = None

    def __call__(self, state: np.ndarray, reference: np.ndarray) -> Rows:
        """Return A (k, m) and b (k,)."""
        return checked_rows(*self.function(state, reference), self.count)

    def batch(self, states: np.ndarray, references: np.ndarray) -> Rows:
        """Return A (N, k, m) and b (N, k)."""
        if self.together is None:
            pairs = zip(states.T.copy(), references.T.copy(), strict=True)
            found = [self(state, reference) for state, reference in pairs]
            return np.stack([rows for rows, _ in found]), np.stack([bound for _, bound in found])
        matrices, bounds = self.together(states, references)
        checked_rows(matrices.reshape(-1, matrices.shape[-1]), bounds.ravel(), self.count)
        return matrices, bounds

    def of(self, column: int) -> CheckedRows:
        """Return the same rows: they are a function of the state alone."""
        return self

    def here(self) -> CheckedRows:
        """Return the same rows: they do not depend on the scene."""
        return self


@dataclass(frozen=True, eq=False)
class AffineBarrier:
    """Barriers h = c - H x >= 0 of a linear system x' = A x + B u.

    The rows require h(x') >= (1 - decay) h(x), a discrete-time exponential barrier: in one step h
    may shrink by the fraction `decay` and never below 0. decay = 1 only requires x' to be safe.

    Args:
        state_matrix: A, (n, n).
        input_matrix: B, (n, m).
        normals: H, (k, n).
        offsets: c, (k,).
        decay: in (0, 1].
        margin: by how much every row is tightened, in units of u for a row of length one. The
            filter's slack lets u violate an active row a little: by at most (high - low) /
            `slack_weight` if u has one entry. With a margin of that size the original rows hold
            exactly.

    Raises:
        ValueError: if the shapes do not fit, or decay or margin is out of its range.
    """

    state_matrix: np.ndarray
    input_matrix: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray
    decay: float = 1.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        given = (self.state_matrix, self.input_matrix, self.normals, self.offsets)
        a, b, h, c = (np.array(array, dtype=np.float64) for array in given)
        if b.ndim != 2 or a.shape != (len(b),) * 2 or h.shape != (len(c), len(b)) or c.ndim != 1:
            raise ValueError(
                f"A, B, H and c have shapes {a.shape}, {b.shape}, {h.shape} and {c.shape}; pass "
                "(n, n), (n, m), (k, n) and (k,)"
            )
        if not 0.0 < self.decay <= 1.0:
            raise ValueError(f"decay is {self.decay}; pass a number in (0, 1]")
        check_not_negative(margin=self.margin)
        names = ("state_matrix", "input_matrix", "normals", "offsets")
        for name, array in zip(names, (a, b, h, c), strict=True):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __call__(self, state: np.ndarray, reference: np.ndarray) -> Rows:
        """Return -H B (k, m) and (1 - decay) (c - H x) - c + H A x (k,), whatever the reference."""
        values = self.offsets - self.normals @ state
        drift = self.normals @ (self.state_matrix @ state)
        bounds = (1.0 - self.decay) * values - self.offsets + drift
        return self.rows, bounds + self.tightening

    def batch(self, states: np.ndarray, references: np.ndarray) -> Rows:
        """Return the rows at states (n, N): (N, k, m), the same in all, and (N, k)."""
        values = self.offsets[:, None] - self.normals @ states
        drift = self.normals @ (self.state_matrix @ states)
        bounds = (1.0 - self.decay) * values - self.offsets[:, None] + drift
        rows = np.broadcast_to(self.rows, (states.shape[1], *self.rows.shape))
        return rows, np.ascontiguousarray(bounds.T) + self.tightening

    def rows_on(self, plant: FilterPlant) -> Callable[[], CheckedRows]:
        """Return a function that gives these rows, checked in every call."""
        return CheckedRows(self, len(plant.low), self.batch).here

    @cached_property
    def rows(self) -> np.ndarray:
        """-H B, (k, m)."""
        return -(self.normals @ self.input_matrix)

    @cached_property
    def tightening(self) -> np.ndarray:
        """The margin in the units of the bounds, (k,)."""
        return self.margin * np.sqrt((self.rows * self.rows).sum(axis=1))
