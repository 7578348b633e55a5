"""Minibatch gradient descent on all critics at once; the actor does not change.

The step defined here, which bounds every network's gradient, is also used to train the actor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, rows
from agents.flat_parameters import Parameters
from safe_envs.contract.argument_checks import check_number


class NonFiniteLossError(RuntimeError, ValueError):
    """A loss became NaN or infinite; the policy was left as it was before that step.

    It is also a ValueError: PyTorch's distributions raise one for such policies, and RL Zoo's
    hyperparameter search treats it as a failed trial.
    """


@dataclass(frozen=True)
class CriticDescent:
    """How critics are fitted to a batch; arguments of every agent.

    Args:
        batch_size: rows of a minibatch, 64 as in Stable-Baselines3's PPO.
        n_epochs: passes over the batch, 10 (same source; N in the ALM paper).
        max_grad_norm: bound on the norm of each network's gradient, the actor's (where it descends)
            and every critic's alone; 40 as in OmniSafe. The bound of 0.5 that Stable-Baselines3
            puts on the joint gradient keeps PPO-Lag on Hopper's velocity task in a local optimum
            (falling forward early).
    """

    batch_size: int = 64
    n_epochs: int = 10
    max_grad_norm: float = 40.0

    def __post_init__(self) -> None:
        check_number("batch_size", self.batch_size, low=1)
        check_number("n_epochs", self.n_epochs, low=1)
        check_number("max_grad_norm", self.max_grad_norm, low=0.0, open_low=True)

    def fit(self, policy: MlpPolicy, batch: Batch) -> dict[str, float]:
        """Fit the critics and return what to log; the actor does not change.

        Raises:
            NonFiniteLossError: if a loss is NaN or infinite.
        """
        targets = policy.value_net.in_own_units(batch.targets)
        critics = policy.critic_parameters()
        loss = torch.zeros(())
        for _ in range(self.n_epochs):
            for index in torch.randperm(len(targets)).split(self.batch_size):
                features = policy.critic_features(rows(batch.observations, index))
                if policy.share_features_extractor:
                    features = features.detach()  # the layers below decide the actions as well
                values = policy.value_net.standardized(features)
                loss = critic_loss(values, targets[index])
                self.step(policy, loss, [], critics)
        return fit_report(loss, self.n_epochs)

    def step(
        self, policy: MlpPolicy, loss: torch.Tensor, actor: Parameters, critics: Parameters
    ) -> None:
        """Take one step of the policy's optimizer with bounded gradients.

        Args:
            policy: changed in place.
            loss: of a minibatch, a scalar.
            actor: parameters to bound as one; none if the loss does not depend on them.
            critics: the critics' own parameters, the stack of them last.

        Raises:
            NonFiniteLossError: if the loss is NaN or infinite.
        """
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss is {loss.item()}; lower learning_rate, or look for rewards, costs or "
                "observations that are too large for float32"
            )
        policy.optimizer.zero_grad()
        loss.backward()
        if actor:
            torch.nn.utils.clip_grad_norm_(actor, self.max_grad_norm)
        _clip_each_row(policy.value_net.weight, self.max_grad_norm)
        if len(critics) > 1:
            torch.nn.utils.clip_grad_norm_(critics[:-1], self.max_grad_norm)
        policy.optimizer.step()


def critic_loss(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the critics' mean squared errors, summed, (b, k) and (b, k) to a scalar."""
    return (values - targets).square().mean(0).sum()


def fit_report(last_loss: torch.Tensor, passes: int) -> dict[str, float]:
    """Return what to log of a fit: the last minibatch's loss of the critics, and the passes."""
    return {"value_loss": float(last_loss.detach()), "n_epochs": float(passes)}


def _clip_each_row(stacked: torch.nn.Parameter, max_norm: float) -> None:
    """Bound the norm of each critic's gradient separately; each row is one critic."""
    gradient = stacked.grad
    assert gradient is not None
    norms = gradient.norm(dim=1, keepdim=True)
    gradient.mul_((max_norm / (norms + 1e-6)).clamp_max_(1.0))
