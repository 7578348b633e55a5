"""Armijo's rule along a step of flat parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from agents.flat_parameters import Parameters, set_flat_values

Closure = Callable[..., torch.Tensor]


class LineSearch:
    """Finds a fraction of a step along which the loss falls enough.

        L(theta + alpha delta) <= L(theta) + sigma alpha gradient . delta

    Differs from the paper: its equation 16 bounds the fall by sigma alpha |delta|^2, which follows
    from this standard form only if sigma is less than the inverse of the learning rate.

    Args:
        closure: returns the loss at the current parameters.
        parameters: changed by the search, and left at the last trial.
        theta: where the step starts, (d,).
        gradient: of the loss there, (d,).
        armijo: sigma.
        halvings: largest number of halvings.

    Attributes:
        start: the loss at theta.
        after: the loss at the last trial.

    Raises:
        ValueError: if the loss is not finite at theta.
    """

    def __init__(
        self,
        closure: Closure,
        parameters: Parameters,
        theta: torch.Tensor,
        gradient: torch.Tensor,
        armijo: float,
        halvings: int,
    ) -> None:
        self._closure = closure
        self._parameters = parameters
        self._theta = theta
        self._gradient = gradient.double()
        self._armijo = armijo
        self._halvings = halvings
        self.start = self.after = self._loss()
        if not math.isfinite(self.start):
            raise ValueError(
                f"the loss is {self.start} at the current parameters; it has to be finite"
            )

    def falls(self, delta: torch.Tensor, fraction: float = 1.0) -> bool:
        """Return whether the loss falls enough along this fraction of a step, (d,)."""
        slope = float(self._gradient @ delta.double())
        if slope >= 0.0:
            return False
        set_flat_values(self._parameters, self._theta + fraction * delta)
        self.after = self._loss()
        return self.after <= self.start + self._armijo * fraction * slope

    def backtrack(self, delta: torch.Tensor) -> float | None:
        """Return the first of 1, 1/2, 1/4, ... on which the loss falls enough, or None."""
        for halving in range(self._halvings + 1):
            if self.falls(delta, 0.5**halving):
                return 0.5**halving
        return None

    def _loss(self) -> float:
        with torch.no_grad():
            return float(self._closure())
