"""The clipped surrogate of proximal policy optimization.

    loss = -mean min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A),   rho = pi / pi_old

Source: Schulman et al. (2017), "Proximal policy optimization algorithms", equation 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.actor_goal import Surrogate
from agents.batch import Batch
from agents.minibatch_descent import MinibatchDescent
from agents.schedules import check_scheduled, scheduled


@dataclass(frozen=True)
class ClippedSurrogate:
    """PPO's step.

    Args:
        descent: how the networks are fitted.
        clip_range: epsilon, 0.2 as in the paper; or a function of the remaining progress, 1 to 0.
    """

    descent: MinibatchDescent
    clip_range: float | Callable[[float], float] = 0.2

    def __post_init__(self) -> None:
        check_scheduled("clip_range", self.clip_range)

    def improve(
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, progress_remaining: float
    ) -> dict[str, float]:
        """Improve the policy on the advantage, (n,), and fit its critics."""
        epsilon = scheduled("clip_range", self.clip_range, progress_remaining)

        surrogate = Surrogate(
            partial(clipped_loss, epsilon=epsilon), partial(clipped_slope, epsilon=epsilon)
        )
        report, log_ratio = self.descent.run(policy, batch, advantage, surrogate)
        clipped = (torch.exp(log_ratio) - 1).abs() > epsilon
        return report | {"clip_fraction": float(clipped.float().mean()), "clip_range": epsilon}


def clipped_loss(log_ratio: torch.Tensor, advantage: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return -min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A) of each sample, (b,)."""
    ratio = torch.exp(log_ratio)
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return -torch.minimum(ratio * advantage, clipped * advantage)


def clipped_slope(log_ratio: np.ndarray, advantage: np.ndarray, epsilon: float) -> np.ndarray:
    """Return the derivative of `clipped_loss` by log rho, (b,): -rho A, or 0 where clipped."""
    ratio = np.exp(log_ratio)
    slope = ratio * advantage
    clipped = np.minimum(np.maximum(ratio, 1 - epsilon), 1 + epsilon)
    clipped *= advantage
    slope *= slope <= clipped
    return np.negative(slope, out=slope)
