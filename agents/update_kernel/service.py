"""Which policies NumPy serves."""

from __future__ import annotations

from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from agents.actor_critic import MlpPolicy

DISTRIBUTIONS = (
    DiagGaussianDistribution,
    CategoricalDistribution,
    MultiCategoricalDistribution,
    BernoulliDistribution,
)
LAYERS = (nn.Linear, nn.Tanh, nn.ReLU)


def serves_actor(policy: MlpPolicy) -> bool:
    """Return whether the actor is a plain multilayer perceptron on the processor."""
    if policy.device.type != "cpu" or type(policy.mlp_extractor) is not MlpExtractor:
        return False
    if type(policy.action_dist) not in DISTRIBUTIONS:
        return False
    if any(True for _ in policy.pi_features_extractor.parameters()):
        return False
    layers = [*policy.mlp_extractor.policy_net, policy.action_net]
    return all(type(layer) in LAYERS and not layer._forward_hooks for layer in layers)
