"""What an on-policy agent learns from, taken apart: a surrogate loss of the reward and each cost.

    L_reward = -mean(ratio A_reward),   L_i = mean(ratio A_i),   ratio = pi(a | s) / pi_old(a | s)

with standardized advantages A. At the policy that acted the ratio is 1, and the gradients are the
policy gradients. `L` of the agent itself is that of A_reward - sum_i w_i A_i with its prices w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.batch import Batch, Observations, rows, standardized
from safe_envs.contract.cost_signal import ConstraintSpec

FEWEST, ROWS = 2, 512  # of a diagnostics batch, at most
REWARD = "reward"

Outputs = Callable[[Observations], torch.Tensor]  # means or logits of all actions, (n, k)
Likelihood = Callable[[Observations, torch.Tensor], torch.Tensor]  # log pi(a | s), (n,)


class SurrogateBatch(NamedTuple):
    """Steps of the last rollout, spread evenly over it, with their advantages.

    `names` are "reward" and the constraints' names; one called "reward" is "cost reward".
    """

    names: tuple[str, ...]
    observations: Observations  # (n, ...) as `likelihood` takes them
    actions: torch.Tensor  # (n, ...)
    log_probs: torch.Tensor  # (n,) under the policy that took them
    advantages: torch.Tensor  # (n, 1 + m), standardized over the whole rollout
    combined: torch.Tensor  # (n,) the same of A_reward - A_cost w
    shares: np.ndarray  # (m,) w_i deviation(A_i) / deviation(A_reward): what costs weigh
    likelihood: Likelihood
    outputs: Outputs
    total: int  # steps of the whole rollout

    def loss(self, advantage: torch.Tensor, part: slice = slice(None)) -> torch.Tensor:
        """Return -mean(ratio A) over a part of the steps.

        Args:
            advantage: A of all steps, (n,).
            part: of the steps.
        """
        now = self.likelihood(rows(self.observations, part), self.actions[part])
        return -((now - self.log_probs[part]).exp() * advantage[part]).mean()

    def losses(self) -> dict[str, torch.Tensor]:
        """Return the loss of the reward and of each cost, by name."""
        now = self.likelihood(self.observations, self.actions)
        signs = torch.tensor([-1.0] + [1.0] * (len(self.names) - 1)).to(now)
        weighted = (now - self.log_probs).exp()[:, None] * self.advantages * signs
        return dict(zip(self.names, weighted.mean(0), strict=True))

    def loss_values(self) -> list[float]:
        """Return the losses as numbers, in the order of the names; landscapes are made of them."""
        return [float(one) for one in self.losses().values()]


@runtime_checkable
class OffersBatch(Protocol):
    """An agent that has its last rollout as a batch with advantages of all signals."""

    constraints: tuple[ConstraintSpec, ...]

    def last_batch(self) -> tuple[Batch, np.ndarray]:
        """Return the batch, and each critic's explained variance."""
        ...

    def constraint_state(self) -> dict[str, np.ndarray]:
        """Return the prices as "weight", and more."""
        ...


def surrogate_batch(agent: OnPolicyAlgorithm) -> SurrogateBatch:
    """Return the last rollout of an agent, at the end of the rollout and before it learns.

    Args:
        agent: one of this project, or any on-policy agent of Stable-Baselines3, which knows no
            costs.

    Raises:
        TypeError: if it is neither.
    """
    check_measurable(agent)
    if isinstance(agent, OffersBatch):
        return _of_constrained(agent)
    return _of_buffer(agent, agent.rollout_buffer)


def check_measurable(agent: BaseAlgorithm) -> None:
    """Raise TypeError for an agent without rollouts of two steps and more, or with a memory."""
    buffer = getattr(agent, "rollout_buffer", None)
    is_plain = isinstance(agent, OffersBatch) or type(buffer) in (RolloutBuffer, DictRolloutBuffer)
    if is_plain and agent.n_steps * agent.n_envs < FEWEST:  # type: ignore[attr-defined]
        raise TypeError(
            f"the rollouts of {type(agent).__name__} have a single step, whose gradient has no "
            "noise to measure; pass a larger n_steps or more copies"
        )
    if not is_plain:
        raise TypeError(
            f"{type(agent).__name__} has no plain rollout buffer; diagnostics are for agents of "
            "this project and for on-policy ones of Stable-Baselines3 without a memory, such as PPO"
        )


def _of_constrained(agent: OffersBatch) -> SurrogateBatch:
    batch, _ = agent.last_batch()
    policy = agent.policy  # type: ignore[attr-defined]
    costs = [f"cost {REWARD}" if one.name == REWARD else one.name for one in agent.constraints]
    weights = agent.constraint_state().get("weight", np.zeros(len(agent.constraints)))
    return _batch((REWARD, *costs), batch, weights, policy.log_probs, policy.action_outputs)


def _of_buffer(agent: OnPolicyAlgorithm, buffer: RolloutBuffer) -> SurrogateBatch:
    policy = agent.policy

    def flat(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(buffer.swap_and_flatten(values), device=agent.device)

    def likelihood(observations: Observations, actions: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = policy.evaluate_actions(observations, actions)[1]
        return found

    def outputs(observations: Observations) -> torch.Tensor:
        features = policy.extract_features(observations)
        own = features[0] if isinstance(features, tuple) else features
        found: torch.Tensor = policy.action_net(policy.mlp_extractor.forward_actor(own))
        return found

    seen, actions = buffer.observations, flat(buffer.actions)
    if isinstance(agent.action_space, spaces.Discrete):
        actions = actions.long().flatten()
    batch = Batch(
        {key: flat(part) for key, part in seen.items()} if isinstance(seen, dict) else flat(seen),
        actions,
        flat(buffer.log_probs).flatten(),
        flat(buffer.advantages),
        flat(buffer.returns),
    )
    return _batch((REWARD,), batch, np.zeros(0), likelihood, outputs)


def _batch(
    names: tuple[str, ...],
    batch: Batch,
    weights: np.ndarray,
    likelihood: Likelihood,
    outputs: Outputs,
) -> SurrogateBatch:
    total = len(batch.actions)
    double = batch.advantages.double()
    combined = standardized(double[:, 0] - double[:, 1:] @ torch.as_tensor(weights).to(double))
    deviations = double.std(0, correction=0).cpu().numpy()
    reward = deviations[0] if deviations[0] > 0.0 else np.inf
    apart = torch.stack([standardized(one) for one in double.T], dim=1)
    spread = np.linspace(0, total - 1, min(ROWS, total)).round().astype(np.int64)
    index = torch.as_tensor(spread, device=batch.actions.device)
    return SurrogateBatch(
        names,
        rows(batch.observations, index),
        batch.actions[index],
        batch.log_probs[index],
        apart[index].float(),
        combined[index].float(),
        weights * deviations[1:] / reward,
        likelihood,
        outputs,
        total,
    )
