"""Fitting the critics changes no action, whatever the networks share."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from agents.actor_critic import CnnPolicy, MlpPolicy
from agents.batch import Batch
from agents.critic_descent import CriticDescent

IMAGE = Box(0, 255, (3, 36, 36), np.uint8)


def make_batch(policy, observations):
    with torch.no_grad():
        actions = policy.sample_actions(observations)
        log_probs = policy.log_probs(observations, actions)
    return Batch(observations, actions, log_probs, torch.zeros(24, 2), torch.randn(24, 2))


@pytest.mark.parametrize(
    ("kind", "space", "settings"),
    [
        (MlpPolicy, Box(-1, 1, (3,)), {}),
        (CnnPolicy, IMAGE, {}),
        (CnnPolicy, IMAGE, {"share_features_extractor": False}),
    ],
)
def test_the_actor_stays_as_it_is(kind, space, settings):
    torch.manual_seed(0)
    policy = kind(space, Discrete(3), lambda _: 1e-3, num_costs=1, **settings)
    batch = make_batch(policy, torch.as_tensor(np.stack([space.sample() for _ in range(24)])))
    actor = [parameter.detach().clone() for parameter in policy.actor_parameters()]
    critics = [parameter.detach().clone() for parameter in policy.critic_parameters()]
    report = CriticDescent(batch_size=8, n_epochs=2).fit(policy, batch)
    assert report["n_epochs"] == 2
    for before, now in zip(actor, policy.actor_parameters(), strict=True):
        assert torch.equal(before, now)
    for before, now in zip(critics, policy.critic_parameters(), strict=True):
        assert not torch.equal(before, now)


def test_critics_learn_their_targets():
    """Targets that are linear in the observation, of which a fit leaves a hundredth at most."""
    torch.manual_seed(0)
    policy = MlpPolicy(
        Box(-1, 1, (3,)), Discrete(3), lambda _: 1e-2, num_costs=1, net_arch={"pi": [], "vf": []}
    )
    observations = torch.randn(24, 3)
    batch = make_batch(policy, observations)
    targets = observations @ torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.0, 2.0]])
    batch = batch._replace(targets=targets)
    policy.value_net.track(targets)
    with torch.no_grad():
        before = (policy.all_values(observations) - targets).square().mean()
    report = CriticDescent(batch_size=8, n_epochs=200).fit(policy, batch)
    with torch.no_grad():
        after = (policy.all_values(observations) - targets).square().mean()
    assert after < 1e-2 * before
    assert report["value_loss"] < 2e-2 * float(before)
