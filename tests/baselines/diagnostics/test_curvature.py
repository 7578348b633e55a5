"""Eigenvalues against dense Hessians, and slices against the parabola of the first one."""

import numpy as np
import pytest
import torch
from torch import nn

from agents.flat_parameters import flat_values
from baselines.diagnostics.curvature import (
    adam_scale,
    difference_products,
    exact_products,
    largest_eigenpairs,
    preconditioned,
)
from baselines.diagnostics.landscapes import (
    filter_direction,
    path_directions,
    slice_reach,
    surface,
)
from baselines.diagnostics.ranks import ranks
from baselines.experiments.layers.networks import NetworkSetting


@pytest.fixture
def problem():
    """A network of 141 parameters, a loss on fixed data, and its dense Hessian."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 10), nn.Tanh(), nn.Linear(10, 6), nn.Tanh(),
                                nn.Linear(6, 3)).double()  # fmt: skip
    x, y = (torch.randn(40, k, generator=generator, dtype=torch.float64) for k in (4, 3))
    parameters = list(network.parameters())

    def loss():
        return (network(x) - y).square().mean()

    with exact_products(loss, parameters) as product:
        dense = torch.stack([product(one) for one in torch.eye(137, dtype=torch.float64)]).numpy()
    return loss, parameters, dense


def test_eigenvalues_are_those_of_the_dense_hessian(problem):
    loss, parameters, dense = problem
    wanted = np.linalg.eigvalsh(0.5 * (dense + dense.T))[::-1][:5]
    for products in (exact_products, difference_products):
        with products(loss, parameters) as product:
            found = largest_eigenpairs(product, len(dense))
        np.testing.assert_allclose(found.values, wanted, rtol=1e-6)
        assert found.reliable.all()


def products_of(loss, parameters, vector):
    found = []
    for products in (exact_products, difference_products):
        with products(loss, parameters) as product:
            found.append(product(vector))
    return found


def test_both_products_agree(problem):
    loss, parameters, dense = problem
    vector = torch.randn(len(dense), generator=torch.Generator().manual_seed(3)).double()
    before = flat_values(parameters)
    exact, near = products_of(loss, parameters, vector)
    torch.testing.assert_close(near, exact, rtol=1e-6, atol=1e-8)
    assert torch.equal(flat_values(parameters), before)


def test_curvature_along_the_first_eigenvector_is_its_eigenvalue(problem):
    loss, parameters, dense = problem
    with exact_products(loss, parameters) as product:
        first = largest_eigenpairs(product, len(dense), 1)
    step = 1e-3
    found = surface(
        lambda: [loss()], parameters, torch.tensor(first.vectors[:, 0]), points=3, reach=(step, 1.0)
    )
    behind, here, ahead = found.values[0, :, 0]
    assert (ahead - 2.0 * here + behind) / step**2 == pytest.approx(first.values[0], rel=1e-2)
    reach = slice_reach(first.values[0], loss().item(), parameters)
    assert 0.5 * first.values[0] * reach**2 <= loss().item() + 1e-3 + 1e-12


def test_adam_s_preconditioner(problem):
    loss, parameters, dense = problem
    optimizer = torch.optim.Adam(parameters, 1e-3)
    with pytest.raises(ValueError, match="no second moments"):
        adam_scale(optimizer, parameters)
    loss().backward()
    squares = torch.cat([one.grad.reshape(-1) ** 2 for one in parameters])
    optimizer.step()
    scale = adam_scale(optimizer, parameters)
    torch.testing.assert_close(scale, squares.sqrt() + 1e-8)  # after one step, by its correction
    size = len(dense)
    given = torch.linspace(0.5, 2.0, size, dtype=torch.float64)
    found = largest_eigenpairs(
        preconditioned(lambda vector: torch.tensor(dense) @ vector, given), size, 3
    )
    root = np.sqrt(given.numpy())
    wanted = np.linalg.eigvalsh(dense / np.outer(root, root))[::-1][:3]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6)


def test_attention_has_a_second_derivative():
    network = NetworkSetting("transformer", width=8, depth=1).make(3, 2).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    parameters = list(network.parameters())

    def loss():
        return network(x).square().mean()

    size = sum(one.numel() for one in parameters)
    vector = torch.randn(size, dtype=torch.float64)
    exact, near = products_of(loss, parameters, vector)
    torch.testing.assert_close(near, exact, rtol=1e-5, atol=1e-6)


def test_a_direction_has_the_units_of_the_network(problem):
    _, parameters, _ = problem
    parts = filter_direction(parameters, 3).split([one.numel() for one in parameters])
    for part, own in zip(parts, parameters, strict=True):
        if own.ndim < 2:
            assert not part.any()
        else:
            lengths = part.reshape(own.shape).norm(dim=1)
            torch.testing.assert_close(lengths, own.detach().norm(dim=1))


def test_a_surface_leaves_everything_as_it_was(problem):
    loss, parameters, _ = problem
    before, random = flat_values(parameters), torch.get_rng_state()
    first, second = (filter_direction(parameters, seed) for seed in (0, 1))
    found = surface(lambda: [loss(), torch.rand(1)], parameters, first, second, points=5)
    assert torch.equal(flat_values(parameters), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert found.values.shape == (2, 5, 5)
    assert found.values[0, 2, 2] == loss().item()
    assert len(np.unique(found.values[1])) == 1  # what is random is the same everywhere
    broken = surface(lambda: [float("inf")], parameters, first, points=3)
    assert np.isnan(broken.values).all()


def test_the_path_of_a_training_lies_in_its_plane():
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.standard_normal((30, 2)))[0].T
    coordinates = rng.standard_normal((8, 2))
    path = rng.standard_normal(30) + coordinates @ plane
    found, points = path_directions(path)
    np.testing.assert_allclose(path[-1] + points @ found, path, atol=1e-12)
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-12)
    with pytest.raises(ValueError, match="1 moments"):
        path_directions(path[:1])


def test_ranks():
    assert ranks(np.ones(7)) == pytest.approx((7.0, 7.0, 1.0, 7))
    assert ranks(np.array([3.0, 0.0, 0.0])) == pytest.approx((1.0, 1.0, 3.0, 1))
    assert ranks(np.zeros(4)) == (0.0, 0.0, 0.0, 0)
    assert ranks(np.array([2.0, 1.0, 0.05])).stable == pytest.approx((4.0 + 1.0 + 0.0025) / 4.0)
