"""The trust region's mathematics in NumPy against automatic differentiation."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from agents.actor_critic import MlpPolicy
from agents.batch import Batch, Measurement
from agents.cpo import ConstrainedPolicyOptimization, ViolationScale
from agents.critic_descent import CriticDescent
from agents.divergence import log_ratios
from agents.flat_parameters import flat_values
from agents.primal.trpo import TrustRegionStep
from agents.primal.trust_region_actor import TorchActor
from agents.update_kernel import trust_region
from agents.update_kernel.perceptrons import PerceptronPass, Shape, Tanh, Weights
from agents.update_kernel.trust_region import KernelActor

SPACES = [Box(-1, 1, (2,)), Discrete(3), MultiDiscrete([2, 3]), MultiBinary(3)]
ROWS = 11


class DoubleFeatures(FlattenExtractor):
    """Stable-Baselines3 hands over observations in single precision."""

    def forward(self, observations):
        return super().forward(observations).double()


def make_policy(space, activation=nn.Tanh, hidden=(6, 4), dtype=torch.float64):
    """Return a policy with critics of another shape, not symmetric in any weight."""
    torch.manual_seed(0)
    policy = MlpPolicy(
        Box(-np.inf, np.inf, (3,)),
        space,
        lambda _: 1e-2,
        net_arch={"pi": list(hidden), "vf": [5]},
        activation_fn=activation,
        features_extractor_class=DoubleFeatures if dtype == torch.float64 else FlattenExtractor,
        num_costs=1,
    ).to(dtype)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return policy


def make_batch(policy, count=ROWS, signals=3):
    """Return steps whose log probabilities are a little off the policy's, as if it had moved."""
    torch.manual_seed(1)
    observations = torch.randn(count, 3)
    with torch.no_grad():
        actions = policy.sample_actions(observations)
        dtype = policy.value_net.weight.dtype
        actions = actions.to(dtype) if actions.is_floating_point() else actions
        log_probs = policy.log_probs(observations, actions)
        log_probs += 0.1 * torch.randn_like(log_probs)
    advantages = torch.randn(count, signals, dtype=dtype)
    return Batch(observations, actions, log_probs, advantages, advantages[:, :2])


@pytest.fixture(params=["one piece", "kept pieces", "pieces", "some kept"])
def in_pieces(request, monkeypatch):
    """The same rows as a whole, in pieces that are kept, and in pieces made anew each time."""
    if request.param != "one piece":
        monkeypatch.setattr(trust_region, "PIECE", 4)
    kept = {"pieces": 0, "some kept": 4 * 16 * 8}  # 4 rows of 4 + 7 + 5 numbers
    monkeypatch.setattr(trust_region, "KEPT_BYTES", kept.get(request.param, 2**20))


def assert_equals_autograd(policy, batch, every, rtol):
    """Compare gradients, Fisher products, divergences and gains; sizes are relative to norms."""
    kernel, reference = KernelActor(policy, batch), TorchActor(policy, batch)
    start = flat_values(policy.actor_parameters())
    gradients = [one.surrogate_gradients(batch.advantages) for one in (kernel, reference)]
    pairs = list(zip(*gradients, strict=True))
    torch.manual_seed(2)
    steps = torch.randn(2, len(start), dtype=start.dtype)
    products = [one.fisher_product(every, 0.25) for one in (kernel, reference)]
    pairs += [tuple(product(step) for product in products) for step in steps]
    for step in steps:
        (divergence, gains), (expected, expected_gains) = (
            one.after(0.1 * step, batch.advantages) for one in (kernel, reference)
        )
        assert divergence == pytest.approx(expected, rel=rtol)
        pairs.append((gains, expected_gains))
    for found, expected in pairs:
        assert found.dtype == expected.dtype == start.dtype
        assert float((found - expected).norm()) <= rtol * float(expected.norm())
    assert torch.equal(flat_values(policy.actor_parameters()), start)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 4)], ids=len)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_double_precision_equals_automatic_differentiation(space, activation, hidden):
    policy = make_policy(space, activation, hidden)
    assert_equals_autograd(policy, make_batch(policy), every=1, rtol=1e-10)


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("space", SPACES[:2], ids=lambda space: type(space).__name__)
def test_pieces_add_up(space, every):
    policy = make_policy(space)
    assert_equals_autograd(policy, make_batch(policy), every, rtol=1e-10)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_single_precision_is_close_to_automatic_differentiation(space):
    policy = make_policy(space, dtype=torch.float32)
    assert_equals_autograd(policy, make_batch(policy, 300), every=1, rtol=1e-4)


def test_critics_of_the_actors_shape_do_not_matter():
    """They are in one stack with the actor then."""
    policy = make_policy(SPACES[0], hidden=(5,))
    assert_equals_autograd(policy, make_batch(policy), every=1, rtol=1e-10)


def test_fisher_products_hold_after_a_trial_step():
    """The activations that are kept are the old actor's."""
    policy = make_policy(SPACES[0])
    batch = make_batch(policy)
    actor = KernelActor(policy, batch)
    product = actor.fisher_product(1, 0.0)
    vector = torch.randn_like(flat_values(policy.actor_parameters()))
    before = product(vector)
    actor.after(vector, batch.advantages)
    assert torch.equal(product(vector), before)


def test_takes_the_step():
    policy = make_policy(SPACES[0])
    actor, start = KernelActor(policy, make_batch(policy)), flat_values(policy.actor_parameters())
    step, critics = torch.randn_like(start), policy.value_net.weight.detach().clone()
    actor.take(step)
    assert torch.equal(flat_values(policy.actor_parameters()), start + step)
    assert torch.equal(policy.value_net.weight, critics)


def test_a_step_without_end_is_infinitely_far():
    policy = make_policy(SPACES[1], dtype=torch.float32)
    batch = make_batch(policy)
    step = torch.full_like(flat_values(policy.actor_parameters()), np.inf)
    divergence, gains = KernelActor(policy, batch).after(step, batch.advantages)
    assert not divergence <= 1e9
    assert gains.isnan().all()


def tangents_and_outputs(weights, directions, x):
    one = PerceptronPass(weights, weights, Tanh(), x)
    one.forward()
    outputs = [out.copy() for out in one.outputs]
    return outputs, one.tangents(directions)


def test_tangents_of_a_stack_of_networks():
    """Against central differences: 3 networks, with heads of two widths."""
    rng = np.random.default_rng(0)
    shape = Shape(2, (4, 3), ((1, 2), (2, 1)))
    start, change = ([rng.normal(size=size) for size in shape.arrays()] for _ in range(2))
    x = np.concatenate([rng.normal(size=(5, 2)), np.ones((5, 1))], axis=1)
    _, found = tangents_and_outputs(Weights.of(shape, start), Weights.of(shape, change), x)
    near = []
    for sign in (1e-5, -1e-5):
        moved = [weight + sign * along for weight, along in zip(start, change, strict=True)]
        near.append(tangents_and_outputs(Weights.of(shape, moved), Weights.of(shape, change), x)[0])
    for tangent, ahead, behind in zip(found, *near, strict=True):
        np.testing.assert_allclose(tangent, (ahead - behind) / 2e-5, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_log_ratios(space):
    policy = make_policy(space)
    batch = make_batch(policy)
    expected = log_ratios(policy, batch, "torch")
    assert expected.std() > 0.05
    torch.testing.assert_close(log_ratios(policy, batch, "numpy"), expected, rtol=1e-10, atol=1e-12)


def trpo(region, policy, batch):
    return region.improve(policy, batch, batch.advantages[:, 0], 1.0)


def cpo(region, policy, batch):
    measured = Measurement(np.array([0.02]), np.zeros(1), np.full(1, 10.0), 3, *np.zeros((2, 1)))
    return ConstrainedPolicyOptimization(region, ViolationScale(), 1).update(
        policy, batch, measured, 1.0
    )


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
@pytest.mark.parametrize("update", [trpo, cpo])
def test_updates_are_those_of_pytorch(update, space):
    results = []
    for backend in ("torch", "numpy"):
        policy = make_policy(space)
        batch = make_batch(policy, 200, signals=2)
        descent = CriticDescent(n_epochs=1, update_backend=backend)
        start = flat_values(policy.actor_parameters())
        report = update(TrustRegionStep(descent), policy, batch)
        results.append((flat_values(policy.actor_parameters()) - start, report))
    (expected, expected_report), (found, report) = results
    assert 0 < report["kl"] <= 0.01
    assert float((found - expected).norm()) <= 1e-6 * float(expected.norm())
    assert report == pytest.approx(expected_report, rel=1e-6)


@pytest.mark.parametrize("setting", ["auto", "torch", "numpy"])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ELU])
def test_what_computes_the_step(setting, activation):
    policy = make_policy(SPACES[0], activation)
    batch = make_batch(policy)
    region = TrustRegionStep(CriticDescent(update_backend=setting))
    if (setting, activation) == ("numpy", nn.ELU):
        with pytest.raises(ValueError, match=r"^update_backend is 'numpy', which cannot .* is ELU"):
            region.actor(policy, batch)
        return
    in_numpy = setting != "torch" and activation is nn.Tanh
    assert isinstance(region.actor(policy, batch), KernelActor if in_numpy else TorchActor)
