import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.torch_layers import FlattenExtractor

import agents.batch
import agents.primal.conjugate_gradient as conjugate_gradient_file
from agents.actor_critic import MlpPolicy
from agents.batch import Batch
from agents.flat_parameters import flat_values, set_flat_values
from agents.primal.conjugate_gradient import (
    action_distributions,
    conjugate_gradient,
    fisher_product,
    isometric_coordinates,
    mean_divergence,
    surrogate_gains,
    surrogate_gradients,
)

ACTION_SPACES = [Box(-1, 1, (2,)), Discrete(3), MultiDiscrete([2, 3]), MultiBinary(3)]


class DoubleFeatures(FlattenExtractor):
    """Stable-Baselines3 hands over observations in single precision."""

    def forward(self, observations):
        return super().forward(observations).double()


def make_policy(action_space, hidden=(5,), seed=0):
    torch.manual_seed(seed)
    policy = MlpPolicy(
        Box(-np.inf, np.inf, (3,)),
        action_space,
        lambda _: 1e-3,
        net_arch={"pi": list(hidden), "vf": []},
        features_extractor_class=DoubleFeatures,
        num_costs=1,
        ortho_init=False,
    ).double()
    with torch.no_grad():
        for parameter in policy.actor_parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return policy


@pytest.fixture(params=["one piece", "kept pieces", "pieces"])
def in_pieces(request, monkeypatch):
    """The same batch as a whole, and in pieces whose graphs are kept, or some built each time."""
    if request.param != "one piece":
        for module in (agents.batch, conjugate_gradient_file):
            monkeypatch.setattr(module, "LARGEST_PIECE", 4)
    if request.param == "pieces":
        monkeypatch.setattr(conjugate_gradient_file, "KEPT_PIECES", 1)


def products_with_identity(product, size):
    return torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])


@pytest.mark.parametrize("seed", range(5))
def test_solves_as_numpy_does(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 30))
    root = rng.normal(size=(size, size))
    matrix, target = root @ root.T + np.eye(size), rng.normal(size=size)
    h = torch.from_numpy(matrix)
    found = conjugate_gradient(lambda v: h @ v, torch.from_numpy(target), 4 * size, 1e-12)
    np.testing.assert_allclose(found.numpy(), np.linalg.solve(matrix, target), atol=1e-9)


@pytest.mark.parametrize("iterations", [1, 3, 7])
def test_length_is_right_however_early_it_stops(iterations):
    """x . H x = x . b for every iterate."""
    rng = np.random.default_rng(0)
    root = torch.from_numpy(rng.normal(size=(20, 20)))
    h, target = root @ root.T, torch.from_numpy(rng.normal(size=20))
    x = conjugate_gradient(lambda v: h @ v, target, iterations)
    assert not torch.allclose(h @ x, target, atol=1e-3)
    assert float(x @ h @ x) == pytest.approx(float(x @ target), rel=1e-9)


@pytest.mark.parametrize("power", [-100, -60, 60, 100])
def test_size_of_the_right_hand_side_does_not_matter(power):
    """Squares of such numbers are 0 or infinite in single precision."""
    rng = np.random.default_rng(0)
    root = torch.from_numpy(rng.normal(size=(20, 20))).float()
    h, target = root @ root.T, torch.from_numpy(rng.normal(size=20)).float()
    plain = conjugate_gradient(lambda v: h @ v, target, 7)
    found = conjugate_gradient(lambda v: h @ v, 2.0**power * target, 7)
    assert torch.equal(found, 2.0**power * plain)


def test_solves_for_nothing():
    zero = torch.zeros(4)
    assert conjugate_gradient(lambda v: 2 * v, zero, 10).tolist() == [0, 0, 0, 0]


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("space", ACTION_SPACES, ids=lambda space: type(space).__name__)
def test_fisher_product_is_the_derivative_of_the_divergences_gradient(space):
    policy, obs = make_policy(space), torch.randn(7, 3)
    parameters = policy.actor_parameters()
    start, old = flat_values(parameters), action_distributions(policy, obs)
    vector = torch.randn_like(start)
    found = fisher_product(policy, obs, damping=0.25)(vector)

    def gradient(values):
        set_flat_values(parameters, values)
        parts = torch.autograd.grad(
            mean_divergence(old, policy, obs), parameters, materialize_grads=True
        )
        return torch.cat([part.ravel() for part in parts])

    step = 1e-5
    difference = gradient(start + step * vector) - gradient(start - step * vector)
    expected = difference / (2 * step) + 0.25 * vector
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.usefixtures("in_pieces")
def test_fisher_matrix_of_a_linear_gaussian():
    """E[x x'] / sigma_i^2 for row i of the mean's weights, and 2 for every log deviation."""
    policy, obs = make_policy(Box(-1, 1, (2,)), hidden=()), torch.randn(9, 3)
    x = torch.cat((obs.double(), torch.ones(9, 1)), 1)
    moments = x.T @ x / 9
    inverse_variance = torch.exp(-2 * policy.log_std.detach())
    in_rows = torch.kron(torch.diag(inverse_variance), moments)  # row i: weights, bias
    order = [0, 1, 2, 4, 5, 6, 3, 7]  # the parameters: both rows' weights, both biases
    expected = torch.block_diag(in_rows[order][:, order], 2 * torch.eye(2, dtype=torch.float64))
    found = products_with_identity(fisher_product(policy, obs, 0.0), 10)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("in_pieces")
def test_fisher_matrix_of_a_linear_categorical():
    """E[(diag p - p p') x x'], the variance of grad log pi."""
    policy, obs = make_policy(Discrete(3), hidden=()), torch.randn(9, 3)
    x = torch.cat((obs.double(), torch.ones(9, 1)), 1)
    probs = policy.get_distribution(obs).distribution.probs.detach()
    expected = torch.zeros(12, 12, dtype=torch.float64)
    for p, row in zip(probs, x, strict=True):
        expected += torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(row, row)) / 9
    order = [0, 1, 2, 4, 5, 6, 8, 9, 10, 3, 7, 11]
    found = products_with_identity(fisher_product(policy, obs, 0.0), 12)
    torch.testing.assert_close(found, expected[order][:, order], rtol=1e-9, atol=1e-12)


def test_refuses_distributions_it_does_not_know():
    class Pair(Distribution):
        distribution = torch.distributions.Beta(torch.ones(3, 2), torch.ones(3, 2))
        proba_distribution_net = proba_distribution = log_prob = entropy = sample = mode = None
        actions_from_params = log_prob_from_params = None

    message = (
        "^the policy's distribution of actions is Beta; a trust region knows Normal, Categ.*PPO"
    )
    with pytest.raises(TypeError, match=message):
        isometric_coordinates(Pair())


@pytest.mark.usefixtures("in_pieces")
def test_divergence_of_gaussians():
    """log(s'/s) + (s^2 + (m - m')^2) / (2 s'^2) - 1/2, summed over the action's components."""
    policy, obs = make_policy(Box(-1, 1, (2,)), hidden=()), torch.randn(9, 3)
    old = action_distributions(policy, obs)
    means = [part.distribution.mean.clone() for part in old]
    deviation = policy.log_std.detach().exp()
    with torch.no_grad():
        policy.action_net.bias += torch.tensor([0.3, -0.1])
        policy.log_std += 0.2
    shift, wide = torch.tensor([0.3, -0.1], dtype=torch.float64), deviation * np.exp(0.2)
    expected = (0.2 + (deviation**2 + shift**2) / (2 * wide**2) - 0.5).sum()
    found = mean_divergence(old, policy, obs)
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-6)
    assert all(torch.equal(part.distribution.mean, m) for part, m in zip(old, means, strict=True))


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("space", ACTION_SPACES, ids=lambda space: type(space).__name__)
def test_surrogates_and_their_gradients(space):
    policy, obs = make_policy(space), torch.randn(6, 3)
    advantages = torch.randn(6, 2, dtype=torch.float64)
    with torch.no_grad():
        actions = policy.sample_actions(obs)
        old = policy.log_probs(obs, actions)
    batch = Batch(obs, actions, old, advantages, advantages)
    assert surrogate_gains(policy, batch, advantages).tolist() == pytest.approx([0, 0], abs=1e-15)
    parameters = policy.actor_parameters()
    start = flat_values(parameters)
    vector, step = torch.randn_like(start), 1e-5
    gradients = torch.stack(surrogate_gradients(policy, batch, advantages))
    gains = []
    for sign in (1, -1):
        set_flat_values(parameters, start + sign * step * vector)
        ratio = (policy.log_probs(obs, actions).detach() - old).exp()
        gains.append((ratio[:, None] * advantages).mean(0) - advantages.mean(0))
        found = surrogate_gains(policy, batch, advantages).detach()
        torch.testing.assert_close(found, gains[-1], rtol=1e-6, atol=1e-15)
    torch.testing.assert_close(gradients @ vector, (gains[0] - gains[1]) / (2 * step))


def test_parameters_go_there_and_back():
    policy = make_policy(Discrete(3))
    parameters = policy.actor_parameters()
    start = flat_values(parameters)
    shapes = [p.shape for p in parameters]
    set_flat_values(parameters, torch.arange(len(start), dtype=torch.float64))
    assert torch.equal(flat_values(parameters), torch.arange(len(start), dtype=torch.float64))
    assert [p.shape for p in parameters] == shapes
    assert all(p.requires_grad and p.is_leaf for p in parameters)
    set_flat_values(parameters, start)
    assert torch.equal(flat_values(parameters), start)


MEMORY_OF_A_STEP = """
import resource
import sys
import numpy as np
import torch
from gymnasium.spaces import Box
import agents.batch
from agents.actor_critic import MlpPolicy
from agents.batch import Batch
from agents.critic_descent import CriticDescent
from agents.primal import conjugate_gradient
from agents.primal.trpo import TrustRegionStep
from agents.update_kernel import trust_region

agents.batch.LARGEST_PIECE = conjugate_gradient.LARGEST_PIECE = 1024
conjugate_gradient.KEPT_PIECES = 4
trust_region.KEPT_BYTES = 2**21

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

torch.set_num_threads(1)
policy = MlpPolicy(
    Box(-np.inf, np.inf, (17,)), Box(-1, 1, (6,)), lambda _: 1e-3, net_arch=[64, 64], num_costs=1
)
region = TrustRegionStep(CriticDescent(update_backend=sys.argv[1]), cg_iterations=2)
for rows in (1_000, 40_000):
    advantages = torch.randn(rows, 2)
    seen = torch.randn(rows, 17)
    batch = Batch(seen, torch.randn(rows, 6), torch.randn(rows), advantages, advantages)
    before = peak()
    actor = region.actor(policy, batch)
    _, (step, _) = region.natural_gradients(actor, advantages)
    region.search(actor, advantages, 1e-3 * step, lambda gains: True, 0.01)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_memory_does_not_grow_with_the_batch(backend):
    """All at once, 40,000 rows of two layers of 64 took 170 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_A_STEP, backend],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 80  # MiB
