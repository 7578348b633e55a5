"""How much Gaussian actions vary toward the end of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from gymnasium import spaces

from agents.actor_critic import MlpPolicy
from safe_envs.contract.argument_checks import check_number


@dataclass(frozen=True)
class NoiseCeiling:
    """A ceiling of the Gaussian's deviation that falls during the training.

    Args:
        final_noise: the deviation of Gaussian actions falls, in a straight line, toward this share
            of the initial one: the last update of K leaves at most final_noise + (1 - final_noise)
            / K of it. A small one makes the policy nearly deterministic, so that
            `predict(..., deterministic=True)` keeps to the limits that were measured with noise.
            None leaves the deviation to the learning.
    """

    final_noise: float | None = None

    def __post_init__(self) -> None:
        if self.final_noise is not None:
            check_number("final_noise", self.final_noise, low=0.0, high=1.0, open_low=True)

    @torch.no_grad()
    def apply(self, policy: MlpPolicy, progress_remaining: float) -> None:
        """Hold the policy's deviations below the ceiling."""
        if self.final_noise is not None:
            share = self.final_noise + (1.0 - self.final_noise) * progress_remaining
            policy.log_std.clamp_(max=policy.log_std_init + math.log(share))


FREE_NOISE = NoiseCeiling()


def check_ceiling(final_noise: float | None, actions: spaces.Space) -> None:
    """Raise ValueError if there is a ceiling, but no Gaussian."""
    if final_noise is not None and not isinstance(actions, spaces.Box):
        raise ValueError(
            f"final_noise is {final_noise}, but the actions are {actions}, and only Box actions "
            "have a Gaussian's noise; leave it out"
        )
