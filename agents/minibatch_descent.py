"""Minibatch gradient descent on the actor and all critics at once.

This is where training spends most of its time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, rows, split
from agents.critic_descent import CriticDescent, critic_loss, fit_report
from agents.divergence import estimated_divergence, log_ratios
from safe_envs.contract.argument_checks import check_number

ActorLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


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
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, actor_loss: ActorLoss
    ) -> Descended:
        """Minimize the actor's loss and fit the critics, in shared passes.

        Args:
            policy: its optimizer takes the steps.
            batch: n steps.
            advantage: what the actor should increase, (n,).
            actor_loss: from log(pi / pi_old) (b,) and advantage (b,) to losses (b,).

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        report = self._passes(policy, batch, advantage, actor_loss)
        log_ratio = log_ratios(policy, batch)
        return Descended(report | {"approx_kl": estimated_divergence(log_ratio)}, log_ratio)

    def _passes(
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, actor_loss: ActorLoss
    ) -> dict[str, float]:
        targets = policy.value_net.in_own_units(batch.targets)
        actor, critics = policy.actor_parameters(), policy.critic_parameters()
        size = self.critic_descent.batch_size
        values_loss = torch.zeros(())
        for passes in range(self.critic_descent.n_epochs):
            order = torch.randperm(len(advantage))
            shuffled = (batch.actions, batch.log_probs, advantage, targets)
            parts = (part[order].split(size) for part in shuffled)
            seen = split(rows(batch.observations, order), size)
            for obs, actions, old, adv, target in zip(seen, *parts, strict=True):
                log_prob, entropy, values = policy.evaluate(obs, actions)
                log_ratio = log_prob - old
                if self._is_too_far(log_ratio):
                    return fit_report(values_loss, passes)
                values_loss = critic_loss(values, target)
                loss = actor_loss(log_ratio, adv).mean() + self.vf_coef * values_loss
                if self.ent_coef != 0.0:
                    loss = loss - self.ent_coef * entropy.mean()
                self.critic_descent.step(policy, loss, actor, critics)
        return fit_report(values_loss, self.critic_descent.n_epochs)

    def _is_too_far(self, log_ratio: torch.Tensor) -> bool:
        if self.target_kl is None:
            return False
        return estimated_divergence(log_ratio) > 1.5 * self.target_kl
