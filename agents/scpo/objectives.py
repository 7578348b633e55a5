"""What an SCPO agent minimizes on a batch: a surrogate of the return, or distance to an expert.

All losses are pure numbers: advantages are standardized, and actions are in the policy's units.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, rows, standardized
from agents.primal.ppo import clipped_loss
from agents.scpo.residual_policy import ResidualPolicy

ObjectiveName = Literal["ppo", "reinforce", "imitation"]
OBJECTIVES = ("ppo", "reinforce", "imitation")


class Objective(Protocol):
    """A loss of each step of a batch."""

    def losses(self, policy: MlpPolicy, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the losses of the chosen steps, (b,), with gradients."""
        ...


class Expert(Protocol):
    """A model of Stable-Baselines3, or a controller with the same method."""

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Return actions (n, ...) at observations (n, ...), and a state that is not used."""
        ...


class ClippedReturn:
    """PPO's surrogate -min(rho A, clip(rho) A) of the standardized advantage of the reward."""

    def __init__(self, batch: Batch, clip_range: float) -> None:
        self._batch = batch
        self._clip_range = clip_range
        self._advantage = standardized(batch.advantages[:, 0])

    def losses(self, policy: MlpPolicy, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the losses of the chosen steps, (b,)."""
        log_ratio = _log_probs(policy, self._batch, index) - self._batch.log_probs[index]
        return clipped_loss(log_ratio, self._advantage[index], self._clip_range)


class PolicyGradient:
    """-rho A, with the standardized advantage of the reward; at rho = 1 REINFORCE's gradient.

    Differs from REINFORCE: its -A log pi is a loss for a single step of the optimizer. With several
    steps on one batch it falls without bound wherever A < 0, the faster the further the actions
    are left behind, until nothing is finite.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._advantage = standardized(batch.advantages[:, 0])

    def losses(self, policy: MlpPolicy, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the losses of the chosen steps, (b,)."""
        log_ratio = _log_probs(policy, self._batch, index) - self._batch.log_probs[index]
        return -torch.exp(log_ratio) * self._advantage[index]


class Imitation:
    """The squared distance of the clipped mean action to an expert's, at the batch's observations.

    With a differentiable head it is the distance of the repaired mean action, which the policy
    takes; its gradient goes through the repair.

    SCPO's section VI-B (equation 33): the states are the policy's own, as in DAgger. Both actions
    are in the policy's units, so that every entry counts by its share of its range.

    Args:
        batch: of the policy.
        expert: gets the observations, and answers with actions, of the environment.
        policy: knows both units.

    Raises:
        ValueError: if the expert does not return one action per observation.
    """

    def __init__(self, batch: Batch, expert: Expert, policy: ResidualPolicy) -> None:
        assert isinstance(batch.observations, torch.Tensor)
        self._observations = batch.observations
        space: Any = policy.action_space
        wanted = (len(batch.observations), *space.shape)
        self._raw = policy.normalizer.raw(batch.observations)
        answers = np.asarray(expert.predict(self._raw)[0])
        if answers.shape != wanted:
            raise ValueError(
                f"the expert returned actions of shape {answers.shape}; they have to be {wanted}, "
                "one action per observation"
            )
        low, answers, high = (
            policy.action_scaling.to_policy(one)
            for one in (space.low[None], answers, space.high[None])
        )
        self._answers, self._low, self._high = (
            torch.as_tensor(one).to(batch.actions) for one in (answers.clip(low, high), low, high)
        )
        scaling = policy.action_scaling
        self._units = [
            torch.as_tensor(one).to(batch.actions) for one in (scaling.half, scaling.middle)
        ]

    def losses(self, policy: MlpPolicy, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the losses of the chosen steps, (b,)."""
        mean = policy.seen_distribution(rows(self._observations, index)).mode()
        taken = torch.maximum(torch.minimum(mean, self._high), self._low)
        if policy.head == "differentiable" and policy.repair_head is not None:
            half, middle = self._units
            raw = self._raw[index if isinstance(index, slice) else index.cpu().numpy()]
            repaired = policy.repair_head.repaired_tensor(raw, middle + half * taken)
            taken = (repaired - middle) / half
        return (taken - self._answers[index]).square().sum(1)


def _log_probs(policy: MlpPolicy, batch: Batch, index: torch.Tensor | slice) -> torch.Tensor:
    return policy.log_probs(rows(batch.observations, index), batch.actions[index])
