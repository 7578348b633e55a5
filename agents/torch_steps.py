"""Steps on minibatches by PyTorch's automatic differentiation: the reference, for any policy."""

from __future__ import annotations

import torch

from agents.actor_critic import MlpPolicy
from agents.actor_goal import ActorGoal
from agents.batch import Batch, Observations, rows
from agents.divergence import estimated_divergence
from agents.non_finite_loss import check_loss


class TorchSteps:
    """Steps of the policy's optimizer, for actor and critics or the critics alone.

    Args:
        policy: changed in place.
        batch: n steps.
        goal: of the actor; None leaves it as it is.
        vf_coef: weight of the critics' loss.
        max_norm: bound on the norm of each network's gradient.
    """

    def __init__(
        self,
        policy: MlpPolicy,
        batch: Batch,
        goal: ActorGoal | None,
        vf_coef: float,
        max_norm: float,
    ) -> None:
        self._policy, self._goal = policy, goal
        self._vf_coef, self._max_norm = vf_coef, max_norm
        targets = policy.value_net.in_own_units(batch.targets)
        self._observations = batch.observations
        self._columns = [targets]
        if goal is not None:
            self._columns += [batch.actions, batch.log_probs, goal.advantage]
        self._actor = [] if goal is None else policy.actor_parameters()
        self._critics = policy.critic_parameters()
        self._gathered: tuple[Observations, list[torch.Tensor]] = (torch.empty(0), [])
        self.value_loss = 0.0

    def gather(self, index: torch.Tensor) -> None:
        """Copy rows of the batch."""
        self._gathered = rows(self._observations, index), [one[index] for one in self._columns]

    def take(self, part: slice) -> bool:
        """Take a step on a part of the gathered rows; False if the actor has moved too far.

        Raises:
            NonFiniteLossError: if the loss is not finite; that step is not taken.
        """
        observations, columns = self._gathered
        seen, (target, *chosen) = rows(observations, part), [one[part] for one in columns]
        goal, policy = self._goal, self._policy
        if goal is None:
            values_loss = critic_loss(self._values(seen), target)
            loss = self._vf_coef * values_loss
        else:
            actions, old, advantage = chosen
            log_prob, entropy, values = policy.evaluate(seen, actions)
            log_ratio = log_prob - old
            if goal.largest_divergence < estimated_divergence(log_ratio):
                return False
            values_loss = critic_loss(values, target)
            loss = goal.surrogate.loss(log_ratio, advantage).mean() + self._vf_coef * values_loss
            if goal.ent_coef != 0.0:
                loss = loss - goal.ent_coef * entropy.mean()
        check_loss(loss.item())
        self.value_loss = values_loss.item()
        self._step(loss)
        return True

    def close(self) -> None:
        """Do nothing: the policy has learned in place."""

    def _values(self, seen: Observations) -> torch.Tensor:
        features = self._policy.critic_features(seen)
        if self._policy.share_features_extractor:
            features = features.detach()  # the layers below decide the actions as well
        return self._policy.value_net.standardized(features)

    def _step(self, loss: torch.Tensor) -> None:
        """Take one step of the policy's optimizer with bounded gradients."""
        policy = self._policy
        policy.optimizer.zero_grad()
        loss.backward()
        if self._actor:
            torch.nn.utils.clip_grad_norm_(self._actor, self._max_norm)
        _clip_each_row(policy.value_net.weight, self._max_norm)
        if len(self._critics) > 1:  # an extractor of their own; the stack of them is the last
            torch.nn.utils.clip_grad_norm_(self._critics[:-1], self._max_norm)
        policy.optimizer.step()


def critic_loss(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the critics' mean squared errors, summed, (b, k) and (b, k) to a scalar."""
    return (values - targets).square().mean(0).sum()


def _clip_each_row(stacked: torch.nn.Parameter, max_norm: float) -> None:
    """Bound the norm of each critic's gradient separately; each row is one critic."""
    gradient = stacked.grad
    assert gradient is not None
    norms = gradient.norm(dim=1, keepdim=True)
    gradient.mul_((max_norm / (norms + 1e-6)).clamp_max_(1.0))
