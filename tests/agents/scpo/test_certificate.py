import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import nn

from agents.scpo import certificate
from agents.scpo.certificate import certify, output_bounds
from agents.scpo.residual_network import ResidualNetwork

SILU_MINIMUM_AT, SILU_MINIMUM = -1.2784645427610738, -0.27846454276107380


def random_network(num_inputs, num_outputs, seed, activation=nn.SiLU, width=32, blocks=4):
    torch.manual_seed(seed)
    network = ResidualNetwork(num_inputs, num_outputs, width, blocks, activation).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
        network.last.weight.normal_()
        network.last.bias.normal_()
    return network


def silu_network():
    """y = x sigmoid(x)."""
    network = ResidualNetwork(1, 1, width=1, blocks=0).double()
    with torch.no_grad():
        for layer in (network.hidden.first, network.last):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    return network


def box(low, high):
    return torch.tensor([[float(low)]]), torch.tensor([[float(high)]])


def outputs(network, points):
    with torch.no_grad():
        return network(points)


def inside(points, boxes):
    """Whether each point (p, n_x) lies in one of the boxes (n, 2, n_x)."""
    above = points[:, None] >= boxes[:, 0]
    return (above & (points[:, None] <= boxes[:, 1])).all(dim=2).any(dim=1)


@pytest.mark.parametrize("activation", [nn.SiLU, nn.Tanh])
@pytest.mark.parametrize(("num_inputs", "num_outputs"), [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("width", [3.0, 0.3, 0.01, 1e-4, 1e-8, 0.0])
def test_no_output_in_a_box_is_outside_its_bounds(activation, num_inputs, num_outputs, width):
    network = random_network(num_inputs, num_outputs, 7, activation)
    lower = 2.0 * torch.randn(40, num_inputs, dtype=torch.float64)
    upper = lower + width * torch.rand(40, num_inputs, dtype=torch.float64)
    low, high = output_bounds(network, lower, upper)
    shares = torch.rand(500, 40, num_inputs, dtype=torch.float64)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * num_inputs)
    shares[: 2**num_inputs] = corners.reshape(2**num_inputs, 1, num_inputs)
    points = torch.minimum(lower + shares * (upper - lower), upper)
    answers = outputs(network, points)
    assert torch.isfinite(low).all()
    assert torch.isfinite(high).all()
    assert (answers >= low).all()
    assert (answers <= high).all()


@pytest.mark.parametrize("num_inputs", [1, 2])
def test_bounds_approach_the_exact_range_with_the_square_of_the_width(num_inputs):
    network = random_network(num_inputs, 1, 3)
    center = torch.randn(100, num_inputs, dtype=torch.float64)
    point = center.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(point).sum(), point)
    excess = []
    for radius in (1e-3, 1e-4, 1e-5):
        low, high = output_bounds(network, center - radius, center + radius)
        linear = 2.0 * radius * slope.abs().sum(dim=1, keepdim=True)
        excess.append(float((high - low - linear).median()))
    assert excess[0] / excess[1] == pytest.approx(100.0, rel=0.15)
    assert excess[1] / excess[2] == pytest.approx(100.0, rel=0.15)
    low, high = output_bounds(network, center, center)
    assert torch.allclose(low, outputs(network, center), rtol=0.0, atol=1e-9)
    assert float((high - low).max()) < 1e-9


def test_the_minimum_of_silu_is_enclosed_tightly():
    network = silu_network()
    for radius in (1.0, 0.1, 0.01):
        ends = box(SILU_MINIMUM_AT - radius, SILU_MINIMUM_AT + radius)
        low, high = output_bounds(network, *ends)
        highest = max(float(outputs(network, end.double())) for end in ends)
        assert SILU_MINIMUM - 0.3 * radius**2 <= float(low) <= SILU_MINIMUM
        assert highest <= float(high) <= highest + 0.3 * radius**2


def test_the_certificate_of_silu_is_the_set_between_its_roots():
    network, limit, width = silu_network(), 0.25, 1e-4

    def beyond(x):
        return x / (1.0 + np.exp(-x)) + limit

    left, right = brentq(beyond, -6, SILU_MINIMUM_AT), brentq(beyond, SILU_MINIMUM_AT, 0)
    found = certify(network, *box(-6.0, 0.0), limit, width)
    assert not found.holds
    assert found.certified_share == pytest.approx(1.0 - (right - left) / 6.0, abs=2 * width)
    assert float(found.violating[:, 0].min()) == pytest.approx(left, abs=2 * width)
    assert float(found.violating[:, 1].max()) == pytest.approx(right, abs=2 * width)
    assert certify(network, *box(-6.0, 0.0), 0.2784646, width).holds
    assert not certify(network, *box(-6.0, 0.0), 0.2784645, width).holds


def test_a_constant_output_is_certified_up_to_the_constant():
    network = ResidualNetwork(2, 1).double()
    with torch.no_grad():
        network.last.bias.fill_(0.7)
    corners = torch.tensor([[-5.0, -5.0]]), torch.tensor([[5.0, 5.0]])
    assert certify(network, *corners, 0.7 + 1e-12, 0.1).evaluated == 1
    assert certify(network, *corners, 0.7 + 1e-12, 0.1).holds
    assert len(certify(network, *corners, 0.69, 0.1).violating) == 1


@pytest.mark.parametrize("num_inputs", [1, 2])
def test_points_are_never_on_the_wrong_side_and_the_boxes_fill_the_domain(num_inputs):
    network = random_network(num_inputs, 2, 5, width=16, blocks=2)
    corners = -torch.ones(1, num_inputs), torch.ones(1, num_inputs)
    points = 2.0 * torch.rand(5_000, num_inputs, dtype=torch.float64) - 1.0
    sizes = outputs(network, points).abs().max(dim=1).values
    limit = float(sizes.quantile(0.8))
    found = certify(network, *corners, limit, 0.02)
    assert (sizes[inside(points, found.certified)] <= limit).all()
    assert (sizes[inside(points, found.violating)] > limit).all()
    everything = torch.cat(found[:3])
    volume = (everything[:, 1] - everything[:, 0]).prod(dim=1).sum()
    assert float(volume) == pytest.approx(2.0**num_inputs, rel=1e-12)
    assert inside(points, everything).all()
    assert 0.6 < found.certified_share <= 0.82


def test_a_narrow_violation_between_grid_points_is_found():
    """A bump of height 1 and width 0.02 that a grid of 64 points on [-3, 3] does not see."""
    network = ResidualNetwork(1, 1, width=2, blocks=0, activation=nn.Tanh).double()
    with torch.no_grad():
        network.hidden.first.weight.fill_(200.0)
        network.hidden.first.bias.copy_(torch.tensor([2.0, -2.0]))  # steps at -0.01 and 0.01
        network.last.weight.copy_(torch.tensor([[0.5, -0.5]]))
    grid = torch.linspace(-3, 3, 64, dtype=torch.float64)[:, None]
    assert float(outputs(network, grid).abs().max()) < 1e-3
    found = certify(network, *box(-3.0, 3.0), 0.5, 1e-4)
    assert not inside(torch.zeros(1, 1).double(), found.certified).any()
    assert inside(torch.zeros(1, 1).double(), found.violating).all()
    assert found.certified_share > 0.99


@pytest.mark.parametrize("kind", [nn.SiLU, nn.Tanh])
def test_derivatives_of_the_activations_and_their_bounds(kind):
    known = certificate._ACTIVATIONS[kind]
    x = torch.linspace(-30.0, 30.0, 600_001, dtype=torch.float64, requires_grad=True)
    value = kind()(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(bend.sum(), x)
    assert torch.allclose(known.value(x), value, rtol=0.0, atol=1e-14)
    assert torch.allclose(known.slope(x), slope, rtol=0.0, atol=1e-13)
    assert torch.allclose(known.bend(x), bend, rtol=0.0, atol=1e-13)
    for bounds, found in ((known.slopes, slope), (known.bends, bend)):
        assert bounds[0] <= found.min() < bounds[0] + 1e-4
        assert bounds[1] - 1e-4 < found.max() <= bounds[1]
    assert known.third - 1e-4 < third.abs().max() <= known.third


def test_weights_in_single_precision_are_taken_exactly():
    network = random_network(1, 1, 2).float()
    ends = box(-0.5, -0.499)
    bounds = output_bounds(network, *ends)
    assert all(bound.dtype == torch.float64 for bound in bounds)
    assert torch.equal(torch.cat(bounds), torch.cat(output_bounds(network.double(), *ends)))


def test_refusals_name_what_came_and_what_is_allowed():
    network = silu_network()
    relu = ResidualNetwork(1, 1, activation=nn.ReLU)
    with pytest.raises(ValueError, match="activation is ReLU; bounds are known for SiLU, Tanh"):
        output_bounds(relu, *box(0.0, 1.0))
    with pytest.raises(ValueError, match=r"both have to be \(n, 1\)"):
        output_bounds(network, torch.zeros(1, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match="lower > upper"):
        output_bounds(network, *box(1.0, 0.0))
    with pytest.raises(ValueError, match="no volume"):
        certify(network, *box(1.0, 1.0), 1.0, 0.1)
    with pytest.raises(ValueError, match="smallest_width is 0.0"):
        certify(network, *box(0.0, 1.0), 1.0, 0.0)
