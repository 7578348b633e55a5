"""Actors, features and hooks that look usual, and that only PyTorch updates as they are."""

import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn
from torch.nn.modules import module as modules
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from agents.actor_critic import MlpPolicy
from agents.update_kernel.service import backend_of, why_torch

SEEN, ACTED = Box(-1.0, 1.0, (3,)), Box(-1.0, 1.0, (2,))
IN_TURNS = "its actor's linear layers and activation functions do not take turns"
USUAL = "its actor has no usual weights and biases"


def made(acted=ACTED, **settings):
    return MlpPolicy(SEEN, acted, lambda _: 1e-3, num_costs=1, **{"net_arch": [4], **settings})


def with_new_optimizer(policy):
    policy.optimizer = torch.optim.Adam(policy.parameters())
    return policy


def with_layers(choose, **settings):
    def make():
        policy = made(**settings)
        layers = choose(*policy.mlp_extractor.policy_net)
        policy.mlp_extractor.policy_net = nn.Sequential(*layers)
        return with_new_optimizer(policy)

    return make


def without_biases():
    policy = made()
    policy.action_net = nn.Linear(4, 2, bias=False)
    return with_new_optimizer(policy)


def one_weight_twice():
    policy = made(net_arch=[3], acted=Box(-1.0, 1.0, (3,)))
    policy.action_net.weight = policy.mlp_extractor.policy_net[0].weight
    return with_new_optimizer(policy)


def constant_deviation():
    policy = made()
    del policy.log_std
    policy.register_buffer("log_std", torch.full((2,), -0.5))
    return with_new_optimizer(policy)


def one_deviation():
    policy = made()
    policy.log_std = nn.Parameter(torch.zeros(1))
    return with_new_optimizer(policy)


class RandomFeatures(FlattenExtractor):
    """Another function of the observations in every object, without parameters or buffers."""

    def __init__(self, space):
        super().__init__(space)
        self.directions = torch.randn(3, 3)

    def forward(self, observations):
        return torch.cos(super().forward(observations) @ self.directions)


CASES = {
    "layers in a row": (
        with_layers(lambda one, _, two, phi: (one, two, phi), net_arch=[4, 4]),
        IN_TURNS,
    ),
    "no activation": (
        with_layers(lambda linear, _: (linear,)),
        IN_TURNS,
    ),
    "activation first": (
        with_layers(lambda linear, phi: (nn.Tanh(), linear, phi)),
        IN_TURNS,
    ),
    "activation twice": (
        with_layers(lambda linear, phi: (linear, phi, nn.Tanh())),
        IN_TURNS,
    ),
    "no biases": (without_biases, USUAL),
    "one weight twice": (one_weight_twice, USUAL),
    "constant deviation": (constant_deviation, USUAL),
    "one deviation for all actions": (one_deviation, USUAL),
    "two functions as features": (
        lambda: made(features_extractor_class=RandomFeatures, share_features_extractor=False),
        "its actor and critics have features of their own",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_unusual_actors(case):
    make, reason = CASES[case]
    policy = make()
    assert why_torch(policy, with_actor=True) == reason
    assert backend_of(policy, "auto", 64, with_actor=True) == "torch"
    assert backend_of(policy, "auto", 64, with_actor=False) == "numpy"  # the critics are as always


def test_features_that_actor_and_critics_share_may_be_anything_fixed():
    assert why_torch(made(features_extractor_class=RandomFeatures), with_actor=True) == ""


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout(0.1),
        nn.RReLU(),
        nn.BatchNorm1d(3, affine=False),
        nn.BatchNorm1d(3, affine=False, track_running_stats=False),
    ],
)
def test_features_that_are_random_or_follow_statistics_are_torchs(layer):
    class Changing(FlattenExtractor):
        def __init__(self, space):
            super().__init__(space)
            self.layer = layer

        def forward(self, observations):
            return self.layer(super().forward(observations))

    policy = MlpPolicy(
        Box(-1, 1, (3,)),
        Discrete(2),
        lambda _: 1e-3,
        num_costs=1,
        features_extractor_class=Changing,
    )
    assert "random" in why_torch(policy, with_actor=True)


def do_nothing(*_):
    return None


@pytest.mark.parametrize(
    "register",
    [
        modules.register_module_forward_hook,
        modules.register_module_forward_pre_hook,
        modules.register_module_full_backward_hook,
        register_optimizer_step_pre_hook,
        register_optimizer_step_post_hook,
    ],
)
def test_hooks_of_the_whole_process(register):
    policy = made()
    handle = register(do_nothing)
    try:
        assert why_torch(policy, with_actor=True) == (
            "hooks are registered on all modules or optimizers"
        )
    finally:
        handle.remove()
    assert why_torch(policy, with_actor=True) == ""
