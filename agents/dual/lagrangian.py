"""Lagrange multipliers by gradient ascent on the measured violation.

    lambda <- clip(lambda + eta u violation, 0, max_multiplier u)
    w       = [lambda + damping u violation]+

with violation and u the pure numbers and the price units of `agents.price_units`. Source: Ray,
Achiam and Amodei (2019), "Benchmarking safe exploration in deep reinforcement learning"
(PPO-Lagrangian), where the ascent step is Adam's; the damping is Platt and Barr's (1987),
"Constrained differential optimization".

Differs from the paper: with damping 0, the paper's form, policy and multiplier circle around the
optimum wherever reward and cost are traded at a constant rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from agents.agent_settings import AT_START
from safe_envs.contract.argument_checks import (
    check_choice,
    check_not_negative,
    check_number,
    check_whole,
    checked_array,
)


@dataclass
class Lagrangian:
    """One multiplier per constraint.

    Args:
        multiplier_lr: step size eta, a pure number: at a violation as large as the limit, the
            price rises by eta times the price at which reward and cost weigh the same.
        initial_multiplier: lambda before the first update, in price units; 0.001 is OmniSafe's.
        multiplier_optimizer: "adam" moves by about eta whatever the size of the violation;
            "ascent" is the plain step, proportional to it.
        damping: the price reacts to the violation itself as well, by this times the price at which
            reward and cost weigh the same; 0 is the plain method.
        max_multiplier: upper bound of lambda, in price units.
        num_constraints: m.
    """

    multiplier_lr: float = 0.05
    initial_multiplier: float = field(default=0.001, metadata=AT_START)
    multiplier_optimizer: Literal["adam", "ascent"] = "ascent"
    damping: float = 1.0
    max_multiplier: float = float("inf")
    num_constraints: int = 1

    def __post_init__(self) -> None:
        check_whole("num_constraints", self.num_constraints, low=0)
        check_not_negative(
            multiplier_lr=self.multiplier_lr,
            initial_multiplier=self.initial_multiplier,
            damping=self.damping,
        )
        check_choice("multiplier_optimizer", self.multiplier_optimizer, ("adam", "ascent"))
        check_number("max_multiplier", self.max_multiplier, low=self.initial_multiplier)
        self._multiplier = np.zeros(self.num_constraints)
        self._weights = self._multiplier.copy()
        self._started = np.zeros(self.num_constraints, dtype=np.bool_)
        self._moved = torch.zeros(self.num_constraints, dtype=torch.float64)
        if self.multiplier_optimizer == "adam":
            kind: type[torch.optim.Optimizer] = torch.optim.Adam
        else:
            kind = torch.optim.SGD
        self._optimizer = kind([self._moved], lr=self.multiplier_lr, maximize=True)  # type: ignore[call-arg]

    def weights(self) -> np.ndarray:
        """Return the prices w, (m,)."""
        return self._weights.copy()

    def update(self, violation: np.ndarray | None, price_unit: np.ndarray) -> None:
        """Take one ascent step along the violation, (m,)."""
        starts = ~self._started & (price_unit > 0)  # a cost without a unit has no price yet
        self._multiplier = np.where(starts, self.initial_multiplier * price_unit, self._multiplier)
        self._weights = np.where(starts, self._multiplier, self._weights)
        self._started = self._started | starts
        if violation is None:
            return
        violation = checked_array("violation", violation, (self.num_constraints,))
        self._moved.zero_()
        self._moved.grad = torch.from_numpy(np.array(violation, dtype=np.float64))
        self._optimizer.step()
        moved = self._multiplier + price_unit * self._moved.numpy()
        known = price_unit > 0  # the bound has no unit where the price has none
        ceiling = np.where(known, self.max_multiplier * np.where(known, price_unit, 1.0), np.inf)
        self._multiplier = np.clip(moved, 0.0, ceiling)
        damped = self._multiplier + self.damping * price_unit * violation
        self._weights = np.clip(damped, 0.0, ceiling)

    def log(self) -> dict[str, np.ndarray]:
        """Return the multipliers."""
        return {"multiplier": self._multiplier.copy()}

    def state(self) -> dict[str, Any]:
        """Return the multipliers and the optimizer's moments."""
        memory = self._optimizer.state[self._moved]
        moments = {
            name: torch.as_tensor(value).numpy().copy()
            for name, value in memory.items()
            if value is not None
        }
        return {
            "multiplier": self._multiplier.copy(),
            "weights": self._weights.copy(),
            "started": self._started.copy(),
            "moments": moments,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state; another optimizer starts without moments."""
        self._multiplier = np.array(state["multiplier"], dtype=np.float64)
        self._weights = np.array(state["weights"], dtype=np.float64)
        self._started = np.array(state["started"], dtype=np.bool_)
        self._optimizer.state.clear()
        if self.multiplier_optimizer == "adam":
            moments = {n: torch.as_tensor(np.array(v)) for n, v in state["moments"].items()}
            self._optimizer.state[self._moved].update(moments)
