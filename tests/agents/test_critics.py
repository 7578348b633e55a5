"""The stacked critics and the fast likelihood against plain PyTorch."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from agents.actor_critic import MlpPolicy
from agents.critics import StackedCritics
from agents.torch_steps import _clip_each_row


def with_random_weights(hidden=(7, 5), count=3, activation=nn.Tanh):
    torch.manual_seed(0)
    critics = StackedCritics(4, hidden, count, activation)
    with torch.no_grad():
        critics.weight.normal_(std=0.5)
        critics.mean.copy_(torch.arange(count) - 1.0)
        critics.scale.copy_(torch.arange(count) + 0.5)
    return critics


def as_separate_networks(critics, inputs, hidden, activation=nn.Tanh):
    """Return k nn.Sequential of nn.Linear with the weights of the stack."""
    networks = []
    for row in critics.weight.detach():
        layers, widths, start = [], [inputs, *hidden, 1], 0
        for rows, columns in pairwise(widths):
            linear = nn.Linear(rows, columns)
            matrix, bias = row[start:][: rows * columns], row[start + rows * columns :][:columns]
            linear.weight.data = matrix.reshape(rows, columns).t().clone()
            linear.bias.data = bias.clone()
            layers += [linear, activation()]
            start += rows * columns + columns
        networks.append(nn.Sequential(*layers[:-1]))
    return networks


def gradient_row(network):
    """Return the gradients of a network in the order of the stack's rows."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    return torch.cat([p for one in layers for p in (one.weight.grad.t().ravel(), one.bias.grad)])


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("hidden", [(), (6,), (7, 5)])
def test_equal_separate_networks(hidden, activation):
    critics = with_random_weights(hidden, activation=activation)
    networks = as_separate_networks(critics, 4, hidden, activation)
    features, targets = torch.randn(11, 4), torch.randn(11, 3)
    outputs = torch.cat([network(features) for network in networks], dim=1)
    torch.testing.assert_close(critics.standardized(features), outputs)
    expected = critics.mean.float() + critics.scale.float() * outputs
    torch.testing.assert_close(critics(features), expected)

    (critics(features) - targets).square().mean(0).sum().backward()
    (expected - targets).square().mean(0).sum().backward()
    gradients = torch.stack([gradient_row(network) for network in networks])
    torch.testing.assert_close(critics.weight.grad, gradients)


def test_each_critic_is_clipped_as_if_alone():
    critics = with_random_weights()
    networks = as_separate_networks(critics, 4, (7, 5))
    features, sizes = torch.randn(11, 4), torch.tensor([100.0, 1.0, 1e-3])
    (critics.standardized(features).square().mean(0) * sizes).sum().backward()
    expected = []
    for network, size in zip(networks, sizes, strict=True):
        (network(features).square().mean() * size).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        expected.append(gradient_row(network))
    _clip_each_row(critics.weight, 0.5)
    torch.testing.assert_close(critics.weight.grad, torch.stack(expected))
    norms = critics.weight.grad.norm(dim=1)
    assert norms[0] == pytest.approx(0.5, rel=1e-4)
    assert norms[2] < 0.4


def test_tracking_changes_no_output():
    critics = with_random_weights()
    features = torch.randn(50, 4)
    before = critics(features)
    for step in range(5):
        targets = torch.randn(200, 3) * torch.tensor([1e-2, 5.0, 300.0]) + 10.0 * step
        critics.track(targets)
        torch.testing.assert_close(critics(features), before, rtol=1e-5, atol=1e-5)


def test_tracking_takes_on_the_targets_moments():
    critics = with_random_weights()
    first = torch.randn(1000, 3) * torch.tensor([0.1, 5.0, 40.0]) + torch.tensor([3.0, 0.0, -70.0])
    critics.track(first)
    first = first.double()
    torch.testing.assert_close(critics.mean, first.mean(0))
    torch.testing.assert_close(critics.scale, first.std(0, unbiased=False), rtol=1e-3, atol=0.0)
    assert critics.in_own_units(first).std(0).tolist() == pytest.approx([1.0] * 3, rel=1e-2)
    then = torch.randn(1000, 3).double() * 2.0 + 5.0
    for _ in range(150):
        critics.track(then)
    torch.testing.assert_close(critics.mean, then.mean(0), rtol=1e-4, atol=0.0)
    torch.testing.assert_close(critics.scale, then.std(0, unbiased=False), rtol=1e-3, atol=0.0)


def test_tracking_a_signal_that_never_varies():
    critics = with_random_weights()
    features = torch.randn(50, 4)
    before = critics(features)
    for _ in range(20):
        critics.track(torch.zeros(100, 3))
    assert torch.isfinite(critics.weight).all()
    torch.testing.assert_close(critics(features), before, rtol=1e-4, atol=1e-4)


def test_nothing_is_claimed_before_a_signal_varies():
    """A new critic says 0, then the mean; so targets of any size are fitted alike."""
    torch.manual_seed(0)
    critics = StackedCritics(4, (6,), 2)
    features = torch.randn(50, 4)
    assert not critics(features).any()
    critics.track(torch.tensor([[0.0, 5.0]]).expand(10, 2))
    assert critics(features).tolist() == [[0.0, 5.0]] * 50
    assert critics.in_own_units(torch.tensor([[0.0, 5.0]])).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("power", [-30, 30])
def test_units_of_the_targets_do_not_matter(power):
    def trained(factor):
        torch.manual_seed(0)
        critics = StackedCritics(4, (6,), 2)
        features = torch.randn(50, 4)
        for step in range(30):
            targets = torch.randn(50, 2) * (step % 3) + step
            critics.track(targets * factor)
        return critics.weight.detach(), critics(features) / factor

    for one, other in zip(trained(1.0), trained(2.0**power), strict=True):
        assert torch.equal(one, other)


def test_a_signal_that_fades_keeps_a_share_of_its_largest_size():
    """The weights, which grow as the scale falls, stay finite."""
    critics = with_random_weights()
    critics.track(torch.randn(100, 3))
    for _ in range(3000):
        critics.track(torch.zeros(100, 3))
    assert torch.isfinite(critics.weight).all()
    assert (critics.scale >= 0.9e-4).all()


@pytest.mark.parametrize("orthogonal", [True, False])
def test_initial_weights(orthogonal):
    torch.manual_seed(0)
    critics = StackedCritics(8, (8,), 2, orthogonal=orthogonal)
    hidden, last = critics.weight[:, :64].view(2, 8, 8), critics.weight[:, 72:80]
    if orthogonal:
        squares = hidden @ hidden.transpose(1, 2)
        torch.testing.assert_close(squares, 2 * torch.eye(8).expand(2, 8, 8), atol=1e-5, rtol=0.0)
        assert last.norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
        assert not critics.weight[:, 64:72].any()
    else:
        assert critics.weight.abs().max() <= 8**-0.5
        assert float(critics.weight.detach().std()) == pytest.approx((8 * 3) ** -0.5, rel=0.15)
    assert not torch.equal(critics.weight[0], critics.weight[1])


def make_policy(action_space, num_costs=2):
    torch.manual_seed(1)
    space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    policy = MlpPolicy(space, action_space, lambda _: 1e-3, num_costs=num_costs)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_(std=0.7)
    return policy


def test_gaussian_likelihood():
    policy = make_policy(gym.spaces.Box(-1.0, 1.0, (2,), np.float32))
    observations, actions = torch.rand(40, 3), torch.randn(40, 2)
    latent = policy.mlp_extractor.forward_actor(observations)
    normal = torch.distributions.Normal(policy.action_net(latent), policy.log_std.exp())
    exact = torch.distributions.Independent(normal, 1)
    log_probs, entropy, values = policy.evaluate(observations, actions)
    torch.testing.assert_close(log_probs, exact.log_prob(actions), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(entropy, exact.entropy())
    torch.testing.assert_close(policy.log_probs(observations, actions), log_probs)
    torch.testing.assert_close(values, policy.value_net.standardized(observations))
    _, by_parent, _ = policy.evaluate_actions(observations, actions)
    torch.testing.assert_close(by_parent, log_probs, rtol=1e-5, atol=1e-4)


def test_sampled_actions_are_gaussian():
    policy = make_policy(gym.spaces.Box(-1.0, 1.0, (2,), np.float32))
    with torch.no_grad():
        actions = policy.sample_actions(torch.full((20_000, 3), 0.3))
        mean = policy.get_distribution(torch.full((1, 3), 0.3)).distribution.mean[0]
        deviation = policy.log_std.exp()
    off = (actions.mean(0) - mean) / deviation * 20_000**0.5
    assert off.abs().max() < 4.0
    torch.testing.assert_close(actions.std(0), deviation, rtol=0.02, atol=0.0)


def test_categorical_likelihood():
    policy = make_policy(gym.spaces.Discrete(4))
    observations, actions = torch.rand(40, 3), torch.randint(4, (40,))
    logits = policy.action_net(policy.mlp_extractor.forward_actor(observations))
    exact = torch.distributions.Categorical(logits=logits)
    log_probs, entropy, _ = policy.evaluate(observations, actions)
    torch.testing.assert_close(log_probs, exact.log_prob(actions))
    torch.testing.assert_close(entropy, exact.entropy())


def test_values_of_reward_and_costs():
    policy = make_policy(gym.spaces.Discrete(4))
    observations = torch.rand(5, 3)
    everything = policy.all_values(observations)
    assert everything.shape == (5, 3)
    torch.testing.assert_close(policy.predict_values(observations), everything[:, :1])
    _, values, _ = policy(observations)
    torch.testing.assert_close(values, everything[:, :1])


def test_a_constant_signal_gives_nothing_to_learn():
    """Targets of single precision around 1e12 differ by rounding, 1e5, which is no error."""
    critics = StackedCritics(4, (5,), 1)
    targets = torch.tensor([[1e12], [1e12 + 65536]])
    critics.track(targets)
    assert float(critics.scale) == 0.0
    assert critics.in_own_units(targets).abs().max() < 1e-6
