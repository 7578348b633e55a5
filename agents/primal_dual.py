"""The composition at the heart of the agents: a dual prices the costs, a primal improves.

With w = dual.weights() the advantage is A = A_reward - A_cost w; then primal.improve(policy,
batch, A), and dual.update(violation) when a rollout has measured one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Measurement, standardized

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

    def update(self, violation: np.ndarray) -> None:
        """Update the price from the measured violation, cost - limit, (m,)."""
        ...

    def log(self) -> dict[str, np.ndarray]:
        """Return what to log: arrays of one number per constraint, or of a single number."""
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

    def update(self, violation: np.ndarray) -> None:
        """Do nothing."""

    def log(self) -> dict[str, np.ndarray]:
        """Return nothing to log."""
        return {}


@dataclass(frozen=True)
class AdvantageScaling:
    """How the advantage is scaled; arguments of every primal-dual agent.

    Args:
        normalize_advantage: True standardizes A_reward - A_cost w, so that w is the price in the
            units of the declared reward and costs, as a multiplier of the linear program is.
            "separate" standardizes A_reward and centers A_cost before they are combined, as
            OmniSafe does; w is then a price in units of A_reward's deviation. False does nothing.
        normalize_lagrangian: divide the combined advantage by 1 + sum(w). It has no effect on a
            standardized advantage.
    """

    normalize_advantage: NormalizeAdvantage = True
    normalize_lagrangian: bool = False

    def __post_init__(self) -> None:
        if self.normalize_advantage not in (True, False, "separate"):
            raise ValueError(
                f"normalize_advantage is {self.normalize_advantage!r}; pass True, False or "
                "'separate'"
            )

    def combine(self, advantages: torch.Tensor, weights: np.ndarray) -> torch.Tensor:
        """Return A_reward - A_cost w, scaled: (n, 1 + m) and (m,) to (n,)."""
        reward, costs = advantages[:, 0], advantages[:, 1:]
        if self.normalize_advantage == "separate":
            reward, costs = standardized(reward), costs - costs.mean(0)
        combined = reward - costs @ torch.as_tensor(weights, dtype=costs.dtype)
        if self.normalize_lagrangian:
            combined = combined / (1.0 + float(weights.sum()))
        return standardized(combined) if self.normalize_advantage is True else combined


class PrimalDual:
    """An update of the policy from a primal and a dual."""

    def __init__(self, scaling: AdvantageScaling, primal: Primal, dual: Dual) -> None:
        self._scaling, self._primal, self._dual = scaling, primal, dual

    def update(
        self,
        policy: MlpPolicy,
        batch: Batch,
        measured: Measurement | None,
        progress_remaining: float,
    ) -> dict[str, float]:
        """Update the dual if a violation was measured, and improve the policy."""
        if measured is not None:
            self._dual.update(measured.violation)
        advantage = self._scaling.combine(batch.advantages, self._dual.weights())
        return self._primal.improve(policy, batch, advantage, progress_remaining)

    def log(self) -> dict[str, np.ndarray]:
        """Return the weights and the dual's own quantities."""
        return {"weight": self._dual.weights(), **self._dual.log()}
