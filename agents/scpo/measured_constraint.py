"""A black-box constraint g(theta) <= 0, measured, counted and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from agents.flat_parameters import Parameters, flat_values, set_flat_values

ConstraintFn = Callable[[], np.ndarray]  # at the current parameters, (k,)
ConstraintBatchFn = Callable[[Sequence[torch.Tensor]], np.ndarray]  # n vectors (d,) to (n, k)


class ConstraintError(ValueError):
    """The constraint function or its starting point cannot be used."""


class InfeasibleStartError(ConstraintError):
    """g(theta_0) <= 0 does not hold at the start."""


class NonFiniteConstraintError(ConstraintError):
    """A constraint is NaN, or not finite at theta_0."""


class NonDeterministicConstraintError(ConstraintError):
    """Two measurements at the same parameters differ."""


class ConstraintShapeError(ConstraintError):
    """The constraint is not a vector, or its length has changed."""


class MeasuredConstraint:
    """Values of g at given parameters, (k,) in double precision.

    An entry may be inf: where a trajectory leaves the region in which g is defined.

    Args:
        parameters: those g depends on; `at` changes them and does not restore them.
        function: g at the current parameters, (k,).
        batch_function: g at several flat vectors, (n, k); None measures one after the other.
    """

    def __init__(
        self,
        parameters: Parameters,
        function: ConstraintFn,
        batch_function: ConstraintBatchFn | None = None,
    ) -> None:
        self._parameters = parameters
        self._function = function
        self._batch_function = batch_function
        self._length: int | None = None
        self.evaluations = 0

    def start(self, tolerance: float) -> np.ndarray:
        """Return g at the current parameters, which must be finite, <= 0 and repeatable.

        Args:
            tolerance: how far two measurements may differ.

        Raises:
            ConstraintShapeError: if g is not a vector with at least one entry.
            NonFiniteConstraintError: if an entry is NaN or infinite.
            InfeasibleStartError: if an entry is positive.
            NonDeterministicConstraintError: if a second measurement differs.
        """
        value = self._checked(self._function())
        self.evaluations += 1
        worst = int(np.argmax(value))
        if not np.isfinite(value).all():
            raise NonFiniteConstraintError(
                f"constraint {_first(~np.isfinite(value))} is not finite at the start; it has to "
                "be a number <= 0 there"
            )
        if value[worst] > 0.0:
            raise InfeasibleStartError(
                f"constraint {worst} is {value[worst]:g} at the start and {int((value > 0).sum())} "
                f"of {len(value)} are positive; all have to be <= 0: start from safe parameters"
            )
        again = self._checked(self._function())
        self.evaluations += 1
        difference = np.abs(again - value)
        if not (difference <= tolerance).all():
            j = int(np.nanargmax(difference))
            raise NonDeterministicConstraintError(
                f"constraint {j} was {value[j]!r} and then {again[j]!r} at the same parameters; "
                "fix seeds and noise, switch dropout and batch statistics off, or pass "
                "determinism_tolerance"
            )
        return value

    def at(self, theta: torch.Tensor) -> np.ndarray:
        """Return g at one flat vector, (k,); the parameters are set to it.

        Raises:
            ConstraintShapeError: if the length has changed.
            NonFiniteConstraintError: if an entry is NaN.
        """
        set_flat_values(self._parameters, theta)
        self.evaluations += 1
        return self._checked(self._function())

    def at_all(self, thetas: Sequence[torch.Tensor]) -> np.ndarray:
        """Return g at n flat vectors, (n, k); the parameters are restored afterward.

        Raises:
            ConstraintShapeError: if the length has changed.
            NonFiniteConstraintError: if an entry is NaN.
        """
        if self._batch_function is not None:
            values = np.asarray(self._batch_function(thetas), dtype=np.float64)
            self.evaluations += len(thetas)
            if values.shape != (len(thetas), self._length):
                raise ConstraintShapeError(
                    f"the batched constraint has shape {values.shape}; it has to be "
                    f"({len(thetas)}, {self._length}): a row for each vector"
                )
            return np.stack([self._checked(value) for value in values])
        before = flat_values(self._parameters)
        try:
            return np.stack([self.at(theta) for theta in thetas])
        finally:
            set_flat_values(self._parameters, before)

    def _checked(self, given: np.ndarray) -> np.ndarray:
        value = np.array(given, dtype=np.float64)
        if value.ndim != 1 or len(value) == 0:
            raise ConstraintShapeError(
                f"the constraint has shape {value.shape}; it has to be a vector (k,) with k >= 1"
            )
        if self._length is None:
            self._length = len(value)
        if len(value) != self._length:
            raise ConstraintShapeError(
                f"the constraint had {self._length} entries and now has {len(value)}; it has to "
                "measure the same things every time"
            )
        if np.isnan(value).any():
            raise NonFiniteConstraintError(
                f"constraint {_first(np.isnan(value))} is NaN; return inf where it is undefined "
                "because the model is unsafe there"
            )
        return value


def _first(flags: np.ndarray) -> int:
    return int(np.flatnonzero(flags)[0])
