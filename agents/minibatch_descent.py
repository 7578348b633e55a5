"""Passes of minibatch gradient descent over a batch, for the actor and all critics at once.

This is where training spends most of its time; nothing else touches gradients of the critics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, rows, split
from agents.setting_checks import check_number

ActorLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the policy was left as it was before that step."""


@dataclass(frozen=True)
class MinibatchDescent:
    """How the networks are fitted to a batch; arguments of every agent.

    Args:
        batch_size: rows of a minibatch, 64 as in Stable-Baselines3's PPO.
        n_epochs: passes over the batch, 10 (same source; N in the ALM paper).
        max_grad_norm: bound on the gradient's norm, for the actor and for every critic alone; 40
            as in OmniSafe. The bound of 0.5 that Stable-Baselines3 puts on the joint gradient
            keeps PPO-Lag on Hopper's velocity task in a local optimum (falling forward early).
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the critics' loss; matters only where actor and critics share layers.
        target_kl: stop the passes once the approximate divergence from the old policy is above
            1.5 times this; None never stops.
    """

    batch_size: int = 64
    n_epochs: int = 10
    max_grad_norm: float = 40.0
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    target_kl: float | None = None

    def __post_init__(self) -> None:
        check_number("batch_size", self.batch_size, low=1)
        check_number("n_epochs", self.n_epochs, low=1)
        check_number("max_grad_norm", self.max_grad_norm, low=0.0, open_low=True)
        check_number("vf_coef", self.vf_coef, low=0.0)
        check_number("ent_coef", self.ent_coef)
        if self.target_kl is not None:
            check_number("target_kl", self.target_kl, low=0.0, open_low=True)

    def run(
        self, policy: MlpPolicy, batch: Batch, advantage: torch.Tensor, actor_loss: ActorLoss
    ) -> dict[str, float]:
        """Improve the actor by a loss and fit the critics, in common passes.

        Args:
            policy: its optimizer takes the steps.
            batch: n steps.
            advantage: what the actor should increase, (n,).
            actor_loss: from log(pi / pi_old) (b,) and advantage (b,) to losses (b,).

        Returns:
            The last minibatch's loss of the critics, and the number of passes done.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        targets = policy.value_net.in_own_units(batch.targets)
        actor, critics = policy.actor_parameters(), policy.critic_parameters()
        critic_loss = torch.zeros(())
        passes = 0
        for _ in range(self.n_epochs):
            order = torch.randperm(len(advantage))
            shuffled = (batch.actions, batch.log_probs, advantage, targets)
            parts = (part[order].split(self.batch_size) for part in shuffled)
            seen = split(rows(batch.observations, order), self.batch_size)
            for obs, actions, old, adv, target in zip(seen, *parts, strict=True):
                log_prob, entropy, values = policy.evaluate(obs, actions)
                log_ratio = log_prob - old
                if self._is_too_far(log_ratio):
                    return _report(critic_loss, passes)
                critic_loss = (values - target).square().mean(0).sum()
                loss = actor_loss(log_ratio, adv).mean() + self.vf_coef * critic_loss
                if self.ent_coef != 0.0:
                    loss = loss - self.ent_coef * entropy.mean()
                self._step(policy, loss, actor, critics)
            passes += 1
        return _report(critic_loss, passes)

    def fit_critics(self, policy: MlpPolicy, batch: Batch) -> dict[str, float]:
        """Fit the critics alone; the actor stays as it is.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        targets = policy.value_net.in_own_units(batch.targets)
        critics = policy.critic_parameters()
        loss = torch.zeros(())
        for _ in range(self.n_epochs):
            for index in torch.randperm(len(targets)).split(self.batch_size):
                values = policy.value_net.standardized(
                    policy.critic_features(rows(batch.observations, index))
                )
                loss = (values - targets[index]).square().mean(0).sum()
                self._step(policy, loss, [], critics)
        return _report(loss, self.n_epochs)

    def _is_too_far(self, log_ratio: torch.Tensor) -> bool:
        if self.target_kl is None:
            return False
        with torch.no_grad():
            return float((log_ratio.exp() - 1 - log_ratio).mean()) > 1.5 * self.target_kl

    def _step(
        self,
        policy: MlpPolicy,
        loss: torch.Tensor,
        actor: list[torch.nn.Parameter],
        critics: list[torch.nn.Parameter],
    ) -> None:
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss is {loss.item()}; lower learning_rate, or look at the scale of rewards "
                "and observations (VecNormalize)"
            )
        policy.optimizer.zero_grad()
        loss.backward()
        if actor:
            torch.nn.utils.clip_grad_norm_(actor, self.max_grad_norm)
        _clip_each_row(policy.value_net.weight, self.max_grad_norm)
        if len(critics) > 1:
            torch.nn.utils.clip_grad_norm_(critics[:-1], self.max_grad_norm)
        policy.optimizer.step()


def _clip_each_row(stacked: torch.nn.Parameter, max_norm: float) -> None:
    """Bound the norm of every critic's gradient alone; a row of the parameter is a critic."""
    gradient = stacked.grad
    assert gradient is not None
    norms = gradient.norm(dim=1, keepdim=True)
    gradient.mul_((max_norm / (norms + 1e-6)).clamp_max_(1.0))


def _report(critic_loss: torch.Tensor, passes: int) -> dict[str, float]:
    return {"value_loss": float(critic_loss.detach()), "n_epochs": float(passes)}
