"""Stable-Baselines3 policies with one critic for the reward and one for every cost.

A policy holds everything between the environment and its networks: the standardization of the
observations and the scaling of the actions. The methods of Stable-Baselines3 (`predict`, `forward`,
`get_distribution`, `evaluate_actions`, `predict_values`) take raw observations. Those of this class
take observations as the networks see them, `normalizer.standardize(raw)`. Distributions, and the
actions of `forward` and `evaluate_actions`, are in the policy's units; `predict` returns actions of
the environment.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.action_scaling import ActionScaling
from agents.critics import StackedCritics
from agents.observation_normalizer import ObservationNormalizer
from agents.repair_head import Head, RepairHead

OWN_ARGUMENTS = ("num_costs", "normalize_observation", "scale_actions", "head")
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class MlpPolicy(ActorCriticPolicy):
    """An actor, a critic of the reward and a critic of each of m costs.

    Takes the arguments of Stable-Baselines3's `ActorCriticPolicy` (gSDE excepted); all critics
    have the shape `net_arch["vf"]`.

    Args:
        observation_space: of the environment.
        action_space: of the environment.
        lr_schedule: as in `ActorCriticPolicy`, like all further arguments.
        *args: as in `ActorCriticPolicy`.
        log_std_init: logarithm of the Gaussian's first deviation; None chooses it by the number of
            dimensions, see `usual_log_std`.
        num_costs: number of costs m; the agent sets it.
        normalize_observation: whether Box observations are standardized; the agent sets it.
        scale_actions: whether the policy acts in [-1, 1] between finite bounds; False for actions
            in the environment's units.
        head: as of the agent, which sets it.
        **kwargs: as in `ActorCriticPolicy`.
    """

    value_net: StackedCritics  # type: ignore[assignment]

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *args: Any,
        log_std_init: float | None = None,
        num_costs: int = 0,
        normalize_observation: bool = False,
        scale_actions: bool = True,
        head: Head = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("use_sde"):
            raise ValueError("use_sde is not supported: the Gaussian's deviation is a parameter")
        self.num_costs = num_costs
        if kwargs.get("optimizer_class", torch.optim.Adam) is torch.optim.Adam:
            # One fused kernel per step, and Stable-Baselines3's epsilon.
            kwargs["optimizer_kwargs"] = {
                "eps": 1e-5,
                "fused": True,
                **(kwargs.get("optimizer_kwargs") or {}),
            }
        if log_std_init is None:
            log_std_init = usual_log_std(action_space)
        kwargs["log_std_init"] = log_std_init
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        self.normalizer = ObservationNormalizer(
            self.observation_space, normalize_observation, self.normalize_images
        )
        self.action_scaling = ActionScaling(self.action_space, scale_actions)
        self.normalize_observation, self.scale_actions = normalize_observation, scale_actions
        self.head, self.repair_head = head, None
        if head is not None:
            self.repair_head = RepairHead(self.observation_space, self.action_space)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {name: vars(self)[name] for name in OWN_ARGUMENTS}
        return {**super()._get_constructor_parameters(), **own}

    def _build(self, lr_schedule: Schedule) -> None:
        arch = self.net_arch
        pi, vf = (arch.get("pi", []), arch.get("vf", [])) if isinstance(arch, dict) else (arch,) * 2
        self.net_arch = {"pi": pi, "vf": []}  # the critics are a stack of their own
        super()._build(lr_schedule)
        self.net_arch = {"pi": pi, "vf": vf}
        self.value_net = StackedCritics(
            self.features_dim, vf, 1 + self.num_costs, self.activation_fn, self.ortho_init
        )
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that decide the actions."""
        modules: list[nn.Module] = [self.pi_features_extractor, self.mlp_extractor, self.action_net]
        parameters = [p for module in modules for p in module.parameters()]
        if isinstance(self.action_dist, DiagGaussianDistribution):
            parameters.append(self.log_std)
        return parameters

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critics' parameters that the actor does not share."""
        own = [] if self.share_features_extractor else list(self.vf_features_extractor.parameters())
        return [*own, self.value_net.weight]

    def attach(self, env: VecEnv | None) -> None:
        """Let a head, if there is one, take its constraint from environments."""
        if self.repair_head is not None and env is not None:
            self.repair_head.attach(env)

    def taken(self, observations: Any, actions: np.ndarray) -> np.ndarray:
        """Return the environment's actions, (N, ...), for actions in the policy's units.

        They are within the bounds of a Box, and repaired if the policy has a head.

        Args:
            observations: as the environment returned them, (N, ...).
            actions: (N, ...).
        """
        chosen = self.action_scaling.to_environment(actions)
        return (
            chosen if self.repair_head is None else self.repair_head.repaired(observations, chosen)
        )

    def sample_actions(self, seen: PyTorchObs) -> torch.Tensor:
        """Return one random action per observation, in the policy's units, (batch, ...)."""
        if isinstance(self.action_dist, DiagGaussianDistribution):
            mean = self.action_outputs(seen)
            return torch.addcmul(mean, self.log_std.exp(), torch.randn_like(mean))
        return self.seen_distribution(seen).sample()

    def action_outputs(self, seen: PyTorchObs) -> torch.Tensor:
        """Return the outputs of the actor's network: means or logits of all actions, (batch, k)."""
        outputs: torch.Tensor = self.action_net(self._actor_latent(seen))
        return outputs

    def evaluate(
        self, seen: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log probabilities (batch,), entropies (batch,) and values in the critics' units.

        The values have shape (batch, 1 + m); `value_net.in_own_units` converts targets to the same
        units.
        """
        features = super().extract_features(seen)
        pi, vf = features if isinstance(features, tuple) else (features, features)
        log_prob, entropy = self._likelihood(self.mlp_extractor.forward_actor(pi), actions)
        critic_inputs = self.mlp_extractor.forward_critic(vf)
        return log_prob, entropy, self.value_net.standardized(critic_inputs)

    def log_probs(self, seen: PyTorchObs, actions: torch.Tensor) -> torch.Tensor:
        """Return the log probability of each action, (batch,)."""
        return self._likelihood(self._actor_latent(seen), actions)[0]

    def all_values(self, seen: PyTorchObs) -> torch.Tensor:
        """Return the values of the reward and of every cost, (batch, 1 + m)."""
        return self.value_net(self.critic_features(seen))

    def critic_features(self, seen: PyTorchObs) -> torch.Tensor:
        """Return the inputs of the critics' own layers, (batch, n)."""
        features = super(ActorCriticPolicy, self).extract_features(seen, self.vf_features_extractor)
        return self.mlp_extractor.forward_critic(features)

    def seen_distribution(self, seen: PyTorchObs) -> Distribution:
        """Return the distributions of actions, in the policy's units."""
        return self._get_action_dist_from_latent(self._actor_latent(seen))

    def extract_features(  # type: ignore[override]
        self, obs: PyTorchObs, features_extractor: BaseFeaturesExtractor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return the features of raw observations, as Stable-Baselines3's policies do."""
        return super().extract_features(self.normalizer(obs), features_extractor)

    def forward(
        self, obs: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return actions, values of the reward (batch, 1) and log probabilities (batch,)."""
        actions, values, log_prob = super().forward(obs, deterministic)
        return actions, values[:, :1], log_prob

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Return the distributions of actions, in the policy's units, at raw observations."""
        return self.seen_distribution(self.normalizer(obs))

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Return the values of the reward at raw observations, (batch, 1)."""
        return self.all_values(self.normalizer(obs))[:, :1]

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return values of the reward (batch, 1), log probabilities and entropies (batch,)."""
        if isinstance(self.action_space, spaces.Box):
            actions = actions.reshape(len(actions), -1)
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        return values[:, :1], log_prob, entropy

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return the environment's actions, as in Stable-Baselines3; repaired by a head."""
        actions, state = super().predict(observation, state, episode_start, deterministic)
        if self.repair_head is None:
            return actions, state
        seen = np.asarray(observation).reshape(-1, *self.repair_head.observed.shape)
        taken = self.repair_head.repaired(seen, actions.reshape(len(seen), -1))
        return taken.reshape(actions.shape), state

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        """Return the environment's actions at raw observations, (batch, ...); `predict` repairs."""
        actions = self.get_distribution(observation).get_actions(deterministic=deterministic)
        return self.action_scaling.tensor_to_environment(actions)

    def _actor_latent(self, seen: PyTorchObs) -> torch.Tensor:
        features = super(ActorCriticPolicy, self).extract_features(seen, self.pi_features_extractor)
        return self.mlp_extractor.forward_actor(features)

    def _likelihood(
        self, latent: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log probabilities and entropies; the Gaussian case in a few operations."""
        if not isinstance(self.action_dist, DiagGaussianDistribution):
            distribution = self._get_action_dist_from_latent(latent)
            entropy = distribution.entropy()
            assert entropy is not None
            return distribution.log_prob(actions), entropy
        scaled = (actions - self.action_net(latent)) * torch.exp(-self.log_std)
        log_volume = self.log_std.sum() + HALF_LOG_TWO_PI * actions.shape[1]
        log_prob = -0.5 * scaled.square().sum(1) - log_volume
        return log_prob, (log_volume + 0.5 * actions.shape[1]).expand(len(actions))


def usual_log_std(action_space: spaces.Space) -> float:
    """Return the logarithm of the deviation that Gaussian actions in k dimensions start with.

        deviation = min(1, sqrt(2 / k))

    so that the noise in all dimensions together has a mean square of at most 2. With a deviation
    of 1 in each, as in Stable-Baselines3, noise in many dimensions swamps the actions: on Ant's
    velocity task (k = 8) its control cost exceeds the reward for staying upright, and falling early
    pays. With less, Hopper (k = 3) more often settles for falling forward or standing still.
    """
    if not isinstance(action_space, spaces.Box):
        return 0.0
    return min(0.0, 0.5 * math.log(2.0 / max(spaces.flatdim(action_space), 1)))


class CnnPolicy(MlpPolicy):
    """`MlpPolicy` on features of the convolutional network of Mnih et al. (2015)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"features_extractor_class": NatureCNN, **kwargs})


class MultiInputPolicy(MlpPolicy):
    """`MlpPolicy` for observations that are dictionaries."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"features_extractor_class": CombinedExtractor, **kwargs})
