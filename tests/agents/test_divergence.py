"""The estimate of the divergence against the closed form."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.distributions import Normal, kl_divergence

from agents.actor_critic import MlpPolicy
from agents.batch import Batch
from agents.divergence import divergence_terms, estimated_divergence, log_ratios


@pytest.mark.parametrize(("shift", "scale"), [(0.1, 1.0), (0.0, 1.2), (0.5, 0.8)])
def test_estimate_is_the_divergence_of_two_gaussians(shift, scale):
    old, new = Normal(torch.tensor(0.0), 1.0), Normal(torch.tensor(shift), scale)
    actions = torch.as_tensor(np.random.default_rng(0).normal(size=400_000))
    log_ratio = new.log_prob(actions) - old.log_prob(actions)
    terms = divergence_terms(log_ratio)
    assert terms.min() >= 0
    exact, error = float(kl_divergence(old, new)), float(terms.std() / len(terms) ** 0.5)
    assert estimated_divergence(log_ratio) == pytest.approx(exact, abs=4 * error)
    assert error < 0.01 * exact


def test_small_ratios_lose_no_digits():
    """To second order a term is x^2 / 2; exp(x) - 1 - x in single precision is rounding."""
    x = torch.tensor([1e-3, -1e-3])
    expected = x.double().square() / 2 + x.double() ** 3 / 6
    torch.testing.assert_close(divergence_terms(x).double(), expected, rtol=1e-3, atol=0.0)


def test_log_ratios_are_zero_until_the_policy_changes():
    torch.manual_seed(0)
    policy = MlpPolicy(Box(-1, 1, (3,)), Box(-1, 1, (2,)), lambda _: 1e-3)
    observations, actions = torch.randn(6, 3), torch.randn(6, 2)
    with torch.no_grad():
        old = policy.log_probs(observations, actions)
    batch = Batch(observations, actions, old, torch.zeros(6, 1), torch.zeros(6, 1))
    assert log_ratios(policy, batch).tolist() == [0.0] * 6
    with torch.no_grad():
        policy.log_std += 0.5
    scaled = (actions - policy.get_distribution(observations).distribution.mean).square().sum(1)
    expected = scaled / 2 * (1 - np.exp(-1.0)) - 2 * 0.5
    torch.testing.assert_close(log_ratios(policy, batch), expected)
