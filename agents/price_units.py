"""The units of duals: violations and prices as pure numbers.

Rewards times a and a cost with its limit times b change the right price by a / b. So duals see

    e_i = (mean cost_i - limit_i) / size_i,   size_i = max(limit_i, a tenth of the mean cost so far)
    u_i = deviation of A_reward / deviation of A_cost_i

and take steps of pure numbers: of e, in units of u. Prices themselves stay in real units, reward
per cost, as the multipliers of a linear program.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agents.batch import Measurement
from agents.cost_margin import NO_MARGIN, CostMargin, MarginSetting

MOMENTUM = 0.9  # weight of the past in the running squares of the advantages
SHARE_OF_COST = 0.1  # of the mean cost so far: the size of a cost whose limit is smaller


class PriceUnits:
    """Tracks the scales of the reward and of m costs.

    Args:
        num_constraints: m.
        margin: below the limits.
    """

    def __init__(self, num_constraints: int, margin: MarginSetting = NO_MARGIN) -> None:
        self._margin = CostMargin(margin, num_constraints)
        self._squares = np.zeros(1 + num_constraints)  # of the centered advantages
        self._updates = 0
        self._total_costs = np.zeros(num_constraints)
        self._episodes = 0

    def track(self, advantages: torch.Tensor) -> None:
        """Take the advantages of a batch, (n, 1 + m), into the running scales."""
        double = advantages.double()
        squares = (double - double.mean(0)).square().mean(0).cpu().numpy()
        self._updates += 1
        rate = (1 - MOMENTUM) / (1 - MOMENTUM**self._updates)  # unbiased from the first call
        self._squares = self._squares + rate * (squares - self._squares)

    def relative(self, measured: Measurement, progress_remaining: float) -> np.ndarray:
        """Return the violations e as pure numbers, (m,), and remember the costs."""
        new = measured.episodes or int(self._episodes == 0)  # a repeat counts if it is all there is
        self._total_costs = self._total_costs + new * measured.costs
        self._episodes += new
        violation = self._margin.violation(measured, progress_remaining)
        usual = SHARE_OF_COST * self._total_costs / self._episodes
        size = np.maximum(measured.limits, usual)
        free = size == 0.0  # limit 0 and no cost yet
        return np.where(free, 0.0, violation / np.where(free, 1.0, size))

    def price_unit(self) -> np.ndarray:
        """Return u, (m,): reward per cost; 0 for a cost whose advantage has not varied.

        A reward that has not varied counts as 1.
        """
        reward, costs = np.sqrt(self._squares[0]), np.sqrt(self._squares[1:])
        reward = reward if self.is_rewarded else 1.0
        known = costs > 0.0
        return np.where(known, reward / np.where(known, costs, 1.0), 0.0)

    @property
    def is_rewarded(self) -> bool:
        """Whether the advantage of the reward has ever varied."""
        return bool(self._squares[0] > 0.0)

    def state(self) -> dict[str, Any]:
        """Return what `load_state` takes."""
        return {
            "squares": self._squares.copy(),
            "updates": self._updates,
            "total_costs": self._total_costs.copy(),
            "episodes": self._episodes,
            "margin": self._margin.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._squares = np.array(state["squares"], dtype=np.float64)
        self._updates = int(state["updates"])
        self._total_costs = np.array(state["total_costs"], dtype=np.float64)
        self._episodes = int(state["episodes"])
        self._margin.load_state(state["margin"])
