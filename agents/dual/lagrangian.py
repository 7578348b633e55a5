"""Lagrange multipliers by gradient ascent on the measured violation.

    w = lambda,   lambda <- clip(lambda + eta * violation, 0, max_multiplier)

Source: Ray, Achiam and Amodei (2019), "Benchmarking safe exploration in deep reinforcement
learning" (PPO-Lagrangian), where the ascent step is Adam's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from safe_envs.contract.argument_checks import (
    check_choice,
    check_number,
    check_whole,
    checked_array,
)


@dataclass
class Lagrangian:
    """One multiplier per constraint.

    Args:
        multiplier_lr: step size eta. 0.035 is the default of OmniSafe's PPO-Lag.
        initial_multiplier: lambda before the first update, 0.001 as in OmniSafe.
        multiplier_optimizer: "adam" moves by about eta whatever the size of the violation;
            "ascent" is the plain step, proportional to it.
        max_multiplier: upper bound of lambda.
        num_constraints: m.
    """

    multiplier_lr: float = 0.035
    initial_multiplier: float = 0.001
    multiplier_optimizer: Literal["adam", "ascent"] = "adam"
    max_multiplier: float = float("inf")
    num_constraints: int = 1

    def __post_init__(self) -> None:
        check_whole("num_constraints", self.num_constraints, low=0)
        check_number("multiplier_lr", self.multiplier_lr, low=0.0)
        check_number("initial_multiplier", self.initial_multiplier, low=0.0)
        check_choice("multiplier_optimizer", self.multiplier_optimizer, ("adam", "ascent"))
        check_number("max_multiplier", self.max_multiplier, low=self.initial_multiplier)
        first = torch.full((self.num_constraints,), self.initial_multiplier, dtype=torch.float64)
        self._multiplier = first
        if self.multiplier_optimizer == "adam":
            kind: type[torch.optim.Optimizer] = torch.optim.Adam
        else:
            kind = torch.optim.SGD
        self._optimizer = kind([first], lr=self.multiplier_lr, maximize=True)  # type: ignore[call-arg]

    def weights(self) -> np.ndarray:
        """Return the multipliers, (m,)."""
        return self._multiplier.numpy().copy()

    def update(self, violation: np.ndarray) -> None:
        """Take one ascent step along the violation, (m,)."""
        violation = checked_array("violation", violation, (self.num_constraints,))
        self._multiplier.grad = torch.from_numpy(np.array(violation, dtype=np.float64))
        self._optimizer.step()
        self._multiplier.clamp_(0.0, self.max_multiplier)

    def log(self) -> dict[str, np.ndarray]:
        """Return the multipliers."""
        return {"multiplier": self.weights()}
