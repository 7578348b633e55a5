"""What an SCPO agent minimizes on a batch: a surrogate of the return, or distance to an expert."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Observations, rows, standardized
from agents.primal.ppo import clipped_loss

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
    """REINFORCE's -A log pi, with the standardized advantage of the reward."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._advantage = standardized(batch.advantages[:, 0])

    def losses(self, policy: MlpPolicy, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the losses of the chosen steps, (b,)."""
        return -self._advantage[index] * _log_probs(policy, self._batch, index)


class Imitation:
    """The squared distance of the clipped mean action to an expert's, at the batch's observations.

    SCPO's section VI-B (equation 33): the states are the policy's own, as in DAgger.
    """

    def __init__(self, batch: Batch, expert: Expert, low: torch.Tensor, high: torch.Tensor) -> None:
        self._observations = batch.observations
        self._low, self._high = low, high
        answers, _ = expert.predict(_as_arrays(batch.observations))
        self._answers = torch.as_tensor(np.asarray(answers)).to(batch.actions)

    def losses(self, policy: MlpPolicy, index: torch.Tensor | slice) -> torch.Tensor:
        """Return the losses of the chosen steps, (b,)."""
        mean = policy.seen_distribution(rows(self._observations, index)).mode()
        clipped = torch.maximum(torch.minimum(mean, self._high), self._low)
        return (clipped - self._answers[index]).square().flatten(1).sum(1)


def _log_probs(policy: MlpPolicy, batch: Batch, index: torch.Tensor | slice) -> torch.Tensor:
    return policy.log_probs(rows(batch.observations, index), batch.actions[index])


def _as_arrays(observations: Observations) -> np.ndarray | dict[str, np.ndarray]:
    if isinstance(observations, torch.Tensor):
        return observations.cpu().numpy()
    return {key: value.cpu().numpy() for key, value in observations.items()}
