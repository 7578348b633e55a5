"""Gradient descent on the actor and all critics at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from agents.actor_critic import MlpPolicy
from agents.actor_goal import ActorGoal, Surrogate
from agents.batch import Batch
from agents.critic_descent import CriticDescent
from agents.divergence import estimated_divergence, log_ratios
from safe_envs.contract.argument_checks import check_number


class Descended(NamedTuple):
    """The result of the passes over a batch."""

    report: dict[str, float]  # to log
    log_ratio: torch.Tensor  # (n,) log(pi / pi_old) of the batch after them


@dataclass(frozen=True)
class MinibatchDescent:
    """How the actor and the critics are fitted to a batch in shared passes.

    Args:
        critic_descent: the passes, and how the critics learn in them.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the critics' loss; matters only where actor and critics share layers.
        target_kl: stop the passes once the approximate divergence from the old policy is above
            1.5 times this; None never stops.
    """

    critic_descent: CriticDescent
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    target_kl: float | None = None

    def __post_init__(self) -> None:
        check_number("vf_coef", self.vf_coef, low=0.0)
        check_number("ent_coef", self.ent_coef)
        if self.target_kl is not None:
            check_number("target_kl", self.target_kl, low=0.0, open_low=True)

    def run(
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, surrogate: Surrogate
    ) -> Descended:
        """Minimize the actor's loss and fit the critics, in shared passes.

        Args:
            policy: its optimizer takes the steps.
            batch: n steps.
            advantage: what the actor should increase, (n,).
            surrogate: its mean is the actor's loss.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        largest = math.inf if self.target_kl is None else 1.5 * self.target_kl
        goal = ActorGoal(advantage, surrogate, self.ent_coef, largest)
        report = self.critic_descent.run(policy, batch, goal, self.vf_coef)
        log_ratio = log_ratios(policy, batch, self.critic_descent.actor_backend(policy))
        return Descended(report | {"approx_kl": estimated_divergence(log_ratio)}, log_ratio)
