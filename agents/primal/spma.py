"""The surrogate of softmax policy mirror ascent.

    loss = mean[-x A + (e^x - 1 - x) / eta],   x = log(pi / pi_old)

Its minimizer is pi = pi_old (1 + eta A): the projection of the tabular step by the forward
divergence, sampled on the policy's own actions. Source: Asad et al. (2024), "Fast convergence of
softmax policy mirror ascent"; Lu et al. (2026, arXiv 2605.11694), appendix F.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from agents.actor_critic import MlpPolicy
from agents.actor_goal import Surrogate
from agents.batch import Batch
from agents.divergence import divergence_terms
from agents.minibatch_descent import MinibatchDescent
from safe_envs.contract.argument_checks import check_number

SMALLEST_FACTOR = 1e-3  # lower bound of 1 + eta A


@dataclass(frozen=True)
class MirrorAscentSurrogate:
    """SPMA's step.

    Args:
        descent: how the networks are fitted.
        step_size: eta; the paper searches {.001, .01, .1, .3, .5, .7, .9}.

    Differs from the paper: A is held above -(1 - 1e-3) / eta. Below it 1 + eta A <= 0, the loss has
    no minimum and decreases forever as the action's probability goes to zero.
    """

    descent: MinibatchDescent
    step_size: float = 0.7

    def __post_init__(self) -> None:
        check_number("step_size", self.step_size, low=0.0, open_low=True)

    def improve(
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, progress_remaining: float
    ) -> dict[str, float]:
        """Improve the policy on the advantage, (n,), and fit its critics."""
        surrogate = Surrogate(
            partial(mirror_loss, step_size=self.step_size),
            partial(mirror_slope, step_size=self.step_size),
        )
        bounded = bounded_advantage(advantage, self.step_size)
        report, _ = self.descent.run(policy, batch, bounded, surrogate)
        return report | {"clip_fraction": float((bounded != advantage).float().mean())}


def bounded_advantage(advantage: torch.Tensor, step_size: float) -> torch.Tensor:
    """Return the advantage held above -(1 - 1e-3) / eta, so that 1 + eta A > 0."""
    return advantage.clamp_min(-(1 - SMALLEST_FACTOR) / step_size)


def mirror_loss(log_ratio: torch.Tensor, advantage: torch.Tensor, step_size: float) -> torch.Tensor:
    """Return -x A + (e^x - 1 - x) / eta of each sample, (b,)."""
    return -log_ratio * advantage + divergence_terms(log_ratio) / step_size


def mirror_slope(log_ratio: np.ndarray, advantage: np.ndarray, step_size: float) -> np.ndarray:
    """Return the derivative of `mirror_loss` by x, (e^x - 1) / eta - A, (b,)."""
    slope = np.expm1(log_ratio)
    slope *= 1 / step_size
    slope -= advantage
    return slope
