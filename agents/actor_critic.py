"""Stable-Baselines3 policies with one critic for the reward and one for every cost."""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from agents.critics import StackedCritics

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class MlpPolicy(ActorCriticPolicy):
    """An actor, a critic of the reward and a critic of each of m costs.

    Takes the arguments of Stable-Baselines3's `ActorCriticPolicy` (gSDE excepted); all critics
    have the shape `net_arch["vf"]`.

    Args:
        *args: as in `ActorCriticPolicy`.
        num_costs: number of costs m; the agent sets it.
        **kwargs: as in `ActorCriticPolicy`.
    """

    value_net: StackedCritics  # type: ignore[assignment]

    def __init__(self, *args: Any, num_costs: int = 0, **kwargs: Any) -> None:
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
        super().__init__(*args, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        return {**data, "num_costs": self.num_costs}

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

    def sample_actions(self, obs: PyTorchObs) -> torch.Tensor:
        """Return one random action per observation, (batch, ...)."""
        if isinstance(self.action_dist, DiagGaussianDistribution):
            mean = self.action_net(self._actor_latent(obs))
            return torch.addcmul(mean, self.log_std.exp(), torch.randn_like(mean))
        return self.get_distribution(obs).sample()

    def evaluate(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log probabilities (batch,), entropies (batch,) and values in the critics' units.

        The values have shape (batch, 1 + m); `value_net.in_own_units` converts targets to the same
        units.
        """
        features = self.extract_features(obs)
        pi, vf = features if isinstance(features, tuple) else (features, features)
        log_prob, entropy = self._likelihood(self.mlp_extractor.forward_actor(pi), actions)
        return log_prob, entropy, self.value_net.standardized(vf)

    def log_probs(self, obs: PyTorchObs, actions: torch.Tensor) -> torch.Tensor:
        """Return the log probability of each action, (batch,)."""
        return self._likelihood(self._actor_latent(obs), actions)[0]

    def all_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Return the values of the reward and of every cost, (batch, 1 + m)."""
        return self.value_net(self.critic_features(obs))

    def critic_features(self, obs: PyTorchObs) -> torch.Tensor:
        """Return what the critics see of the observations, (batch, n)."""
        return super(ActorCriticPolicy, self).extract_features(obs, self.vf_features_extractor)

    def forward(
        self, obs: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return actions, values of the reward (batch, 1) and log probabilities (batch,)."""
        actions, values, log_prob = super().forward(obs, deterministic)
        return actions, values[:, :1], log_prob

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Return the values of the reward, (batch, 1)."""
        return self.all_values(obs)[:, :1]

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return values of the reward (batch, 1), log probabilities and entropies (batch,)."""
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        return values[:, :1], log_prob, entropy

    def _actor_latent(self, obs: PyTorchObs) -> torch.Tensor:
        features = super(ActorCriticPolicy, self).extract_features(obs, self.pi_features_extractor)
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


class CnnPolicy(MlpPolicy):
    """`MlpPolicy` on features of the convolutional network of Mnih et al. (2015)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"features_extractor_class": NatureCNN, **kwargs})


class MultiInputPolicy(MlpPolicy):
    """`MlpPolicy` for observations that are dictionaries."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"features_extractor_class": CombinedExtractor, **kwargs})
