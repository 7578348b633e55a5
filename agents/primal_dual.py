"""The composition at the heart of the agents: a dual prices the costs, a primal improves.

With w = dual.weights() the advantage is A = A_reward - A_cost w; then primal.improve(policy,
batch, A), and dual.update(violation, price_unit) with what the rollout has measured, in pure
numbers (`agents.price_units`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Measurement, standardized
from agents.exploration_noise import FREE_NOISE, NoiseCeiling
from agents.price_units import PriceUnits

NormalizeAdvantage = bool | Literal["separate"]


class Primal(Protocol):
    """Improves a policy on an advantage, without regard to constraints."""

    def improve(
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, progress_remaining: float
    ) -> dict[str, float]:
        """Improve the policy, fit its critics, and return what to log.

        Args:
            policy: changed in place.
            batch: n steps of the policy.
            advantage: (n,).
            progress_remaining: from 1 at the start of training to 0 at its end, for schedules.
        """
        ...


class Dual(Protocol):
    """Prices constraints by their measured violation.

    A dual is a dataclass. Its fields are arguments of its agents, except `num_constraints` (m),
    which the agent sets from the environment.
    """

    def weights(self) -> np.ndarray:
        """Return the price of each cost now, (m,), >= 0."""
        ...

    def update(self, violation: np.ndarray | None, price_unit: np.ndarray) -> None:
        """Update the price; called once per update of the policy, before it.

        Args:
            violation: (m,) cost - limit in units of the cost's own size, a pure number; None if no
                episode has ended since the last update.
            price_unit: (m,) the price, in reward per cost, at which reward and cost weigh the same
                in the advantage. A step of the price is a pure number times this.
        """
        ...

    def log(self) -> dict[str, np.ndarray]:
        """Return what to log: arrays of one number per constraint, or of a single number."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what the dual remembers: numbers, lists, arrays, None, or dicts of these."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that a dual of the same class returned."""
        ...


@dataclass(frozen=True)
class NoDual:
    """No price, w = 0: costs are measured and ignored.

    Args:
        num_constraints: m.
    """

    num_constraints: int = 1

    def weights(self) -> np.ndarray:
        """Return zeros, (m,)."""
        return np.zeros(self.num_constraints)

    def update(self, violation: np.ndarray | None, price_unit: np.ndarray) -> None:
        """Do nothing."""

    def log(self) -> dict[str, np.ndarray]:
        """Return nothing to log."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return nothing to remember."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class AdvantageScaling:
    """How the advantage is scaled; arguments of every primal-dual agent.

    Args:
        normalize_advantage: True standardizes A_reward - A_cost w. "separate" divides it by the
            deviation of A_reward instead, as OmniSafe does, so that a high price makes larger
            steps. False leaves it in the units of the reward. The price w is in real units, reward
            per cost, in each case.
        normalize_lagrangian: divide the combined advantage by 1 + sum(w), with each w in units of
            the deviations. It has no effect on a standardized advantage.
    """

    normalize_advantage: NormalizeAdvantage = True
    normalize_lagrangian: bool = False

    def __post_init__(self) -> None:
        given = self.normalize_advantage  # 1 is equal to True, but not the same
        if not isinstance(given, bool) and given != "separate":
            raise ValueError(
                f"normalize_advantage is {self.normalize_advantage!r}; pass True, False or "
                "'separate'"
            )

    def combine(self, advantages: torch.Tensor, weights: np.ndarray) -> torch.Tensor:
        """Return A_reward - A_cost w, scaled: (n, 1 + m) and (m,) to (n,)."""
        prices = torch.as_tensor(weights, device=advantages.device)
        double = advantages.double()
        combined = double[:, 0] - double[:, 1:] @ prices
        if self.normalize_advantage is True:
            return standardized(combined).float()
        deviations = (double - double.mean(0)).square().mean(0).sqrt()
        reward = deviations[0] if deviations[0] > 0 else torch.ones_like(deviations[0])
        if self.normalize_advantage == "separate":
            combined = (combined - combined.mean()) / reward
        if self.normalize_lagrangian:
            combined = combined / (1.0 + (prices * deviations[1:]).sum() / reward)
        return combined.float()


class PrimalDual:
    """An update of the policy from a primal and a dual.

    Until a reward has varied, prices have no unit: the dual prices the costs against each other
    alone, and it starts anew when the first rewards come.
    """

    def __init__(
        self,
        scaling: AdvantageScaling,
        primal: Primal,
        dual: Dual,
        units: PriceUnits,
        noise: NoiseCeiling = FREE_NOISE,
    ) -> None:
        self._scaling, self._primal, self._dual, self._units = scaling, primal, dual, units
        self._noise = noise
        self._start = copy.deepcopy(dual.state())

    def update(
        self,
        policy: MlpPolicy,
        batch: Batch,
        measured: Measurement | None,
        progress_remaining: float,
    ) -> dict[str, float]:
        """Update the dual with what was measured, and improve the policy."""
        was_rewarded = self._units.is_rewarded
        self._units.track(batch.advantages)
        if self._units.is_rewarded and not was_rewarded:
            self._dual.load_state(copy.deepcopy(self._start))
        violation = None if measured is None else self._units.relative(measured, progress_remaining)
        self._dual.update(violation, self._units.price_unit())
        advantage = self._scaling.combine(batch.advantages, self._dual.weights())
        report = self._primal.improve(policy, batch, advantage, progress_remaining)
        self._noise.apply(policy, progress_remaining)
        return report

    def log(self) -> dict[str, np.ndarray]:
        """Return the weights and the dual's own quantities."""
        return {"weight": self._dual.weights(), **self._dual.log()}

    def state(self) -> dict[str, Any]:
        """Return what the dual and the scales remember."""
        return {"dual": self._dual.state(), "units": self._units.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._dual.load_state(state["dual"])
        self._units.load_state(state["units"])
