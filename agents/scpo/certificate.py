"""Proofs that a network's outputs stay within a limit between the measured points.

On a box |x - c| <= r every hidden layer is enclosed by a Taylor model of first order, with J the
Jacobian at c, and each activation f by its tangent and the second-order remainder e,

    h(x) in h(c) + J (x - c) + [-s, s],      f(z) = f(z_c) + f'(z_c) (z - z_c) + e,
    e in 1/2 f''(...) (z - z_c)^2,

where z - z_c is bounded by the model. The linear parts are then carried back from the output with
their signs, as in CROWN (Zhang et al., arXiv 1811.00866), with the coefficients A_l of the
remainders:

    y(x) in y(c) + A_0 (x - c) + sum_l A_l e_l.

The distance from the exact range shrinks with the square of the width of the box. All rounding in
double precision is bounded as well: an inner product of n terms differs from the exact one by at
most (n + 2) 2^-53 times the sum of the absolute terms, of which the slack here is a multiple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from agents.scpo.residual_network import ResidualNetwork
from safe_envs.contract.argument_checks import check_number

CHUNK = 2048  # boxes at once
LARGEST_CELLS = 1_000_000  # after this many boxes the others stay undecided


class Certificate(NamedTuple):
    """Boxes that together cover the given ones, (n, 2, n_x): lower and upper corner of each."""

    certified: torch.Tensor  # |y| <= limit is proven in all of the box
    violating: torch.Tensor  # |y| > limit is proven in all of the box, for the same output
    undecided: torch.Tensor  # neither
    evaluated: int  # boxes whose outputs were bounded on the way

    @property
    def holds(self) -> bool:
        """Whether the limit is proven in all boxes."""
        return len(self.violating) == len(self.undecided) == 0

    @property
    def certified_share(self) -> float:
        """Volume of the certified boxes as a share of all."""
        volumes = [float((part[:, 1] - part[:, 0]).prod(dim=1).sum()) for part in self[:3]]
        return volumes[0] / sum(volumes)


def certify(
    network: ResidualNetwork,
    lower: torch.Tensor,
    upper: torch.Tensor,
    limit: float,
    smallest_width: float,
) -> Certificate:
    """Return where |y| <= limit holds for all outputs y, bisecting boxes until it is known.

    The proof holds for the network in real numbers. Its evaluation has rounding errors: less than
    1e-12 in double precision at usual weights, about 1e-6 in single precision. If that matters,
    reduce the limit by that much.

    Args:
        network: with SiLU or Tanh activations.
        lower: corners of the boxes to examine, (n, n_x).
        upper: opposite corners, (n, n_x), above `lower` in every entry.
        limit: of |y|, at least 0.
        smallest_width: boxes whose widest side is at most this are not bisected.

    Raises:
        ValueError: if a box has no volume, or a number is out of range.
    """
    check_number("limit", limit, low=0.0)
    check_number("smallest_width", smallest_width, low=0.0, open_low=True)
    pending = _boxes(network, lower, upper)  # (n, 2, n_x)
    if not (pending[:, 0] < pending[:, 1]).all():
        raise ValueError("a box has no volume; every entry of upper has to be above lower's")
    decided: list[list[torch.Tensor]] = [[], [], []]
    evaluated = 0
    while len(pending):
        low, high = output_bounds(network, pending[:, 0], pending[:, 1])  # (n, n_u)
        evaluated += len(pending)
        holds = ((low >= -limit) & (high <= limit)).all(dim=1)
        fails = ((low > limit) | (high < -limit)).any(dim=1)
        widths = (pending[:, 1] - pending[:, 0]).max(dim=1).values
        stays = ~holds & ~fails & ((widths <= smallest_width) | (evaluated > LARGEST_CELLS))
        for found, chosen in zip(decided, (holds, fails, stays), strict=True):
            found.append(pending[chosen])
        pending = _bisected(pending[~holds & ~fails & ~stays])
    certified, violating, undecided = (torch.cat(found) for found in decided)
    return Certificate(certified, violating, undecided, evaluated)


def output_bounds(
    network: ResidualNetwork, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bounds of every output over every box, (n, n_u) each, in double precision.

    Args:
        network: with SiLU or Tanh activations; weights in single precision are taken as they are.
        lower: corners of the boxes, (n, n_x).
        upper: opposite corners, (n, n_x), at least `lower`.

    Raises:
        ValueError: if the activation is not supported, or a box is invalid.
    """
    boxes = _boxes(network, lower, upper)
    activation = _activation_of(network)
    with torch.no_grad():
        parts = [_bounds(network, activation, chunk) for chunk in boxes.split(CHUNK)]
    return torch.cat([low for low, _ in parts]), torch.cat([high for _, high in parts])


class _Activation(NamedTuple):
    """A smooth function with its derivatives, and bounds of them on all of R."""

    value: Callable[[torch.Tensor], torch.Tensor]
    slope: Callable[[torch.Tensor], torch.Tensor]
    bend: Callable[[torch.Tensor], torch.Tensor]  # second derivative
    slopes: tuple[float, float]
    bends: tuple[float, float]
    third: float  # largest third derivative, absolute


def _silu_slope(x: torch.Tensor) -> torch.Tensor:
    s = torch.sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def _silu_bend(x: torch.Tensor) -> torch.Tensor:
    s = torch.sigmoid(x)
    return s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s))


def _tanh_slope(x: torch.Tensor) -> torch.Tensor:
    return 1.0 - torch.tanh(x).square()


def _tanh_bend(x: torch.Tensor) -> torch.Tensor:
    return -2.0 * torch.tanh(x) * _tanh_slope(x)


# The bounds are the extreme values, rounded outward. SiLU is not monotone: it falls to -0.2785 at
# x = -1.2785 and its slope is negative below; its second derivative is even, 1/2 at 0.
_ACTIVATIONS: dict[type[nn.Module], _Activation] = {
    nn.SiLU: _Activation(
        nn.functional.silu, _silu_slope, _silu_bend, (-0.09984, 1.09984), (-0.03692, 0.5), 0.30819
    ),
    nn.Tanh: _Activation(torch.tanh, _tanh_slope, _tanh_bend, (0.0, 1.0), (-0.76981, 0.76981), 2.0),
}


class _Layer(NamedTuple):
    """Data of a hidden layer a = f(W h + b) for the backward pass, per box."""

    weight: torch.Tensor  # W, (units, inputs)
    slope: torch.Tensor  # f'(z_c), (n, units)
    low: torch.Tensor  # of e and of all rounding of z, a and the sum with h, (n, units)
    high: torch.Tensor
    spread: torch.Tensor  # largest |h(x) - h(c)| of the layer's input, (n, inputs)
    skips: bool  # the output is h + a


class _Model(NamedTuple):
    """h(x) in center + jacobian (x - c) + [-rest, rest]."""

    center: torch.Tensor  # (n, units)
    jacobian: torch.Tensor  # (n, n_x, units)
    rest: torch.Tensor  # (n, units)

    def spread(self, radius: torch.Tensor) -> torch.Tensor:
        """Return the largest |h(x) - center|, (n, units)."""
        linear = torch.einsum("nx,nxu->nu", radius, self.jacobian.abs())
        return (linear + self.rest) * (1.0 + 2.0**-40)


def _bounds(
    network: ResidualNetwork, activation: _Activation, boxes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bounds of the outputs over boxes (n, 2, n_x)."""
    center = boxes.mean(dim=1)
    radius = torch.maximum(boxes[:, 1] - center, center - boxes[:, 0]) * (1.0 + 2.0**-40)
    count, inputs = center.shape
    unit = torch.eye(inputs, dtype=center.dtype).expand(count, inputs, inputs)
    model = _Model(center, unit, torch.zeros_like(center))
    layers = []
    linears = [part for part in network.hidden.modules() if isinstance(part, nn.Linear)]
    for i, linear in enumerate(linears):
        model, layer = _forward(linear, activation, model, radius, skips=i > 0)
        layers.append(layer)
    return _backward(network.last, layers, model, radius)


def _forward(
    linear: nn.Linear, activation: _Activation, model: _Model, radius: torch.Tensor, skips: bool
) -> tuple[_Model, _Layer]:
    """Return the model after a hidden layer, and the layer's data for the backward pass."""
    weight, bias = linear.weight.double(), linear.bias.double()
    slack = _slack(weight.shape[1])
    size, before = weight.abs().T, model.spread(radius)
    z = model.center @ weight.T + bias
    rounding_z = slack * (model.center.abs() @ size + bias.abs())
    jacobian_z = model.jacobian @ weight.T
    rest_z = model.rest @ size + rounding_z + 2.0 * slack * (before @ size)
    spread_z = _Model(z, jacobian_z, rest_z).spread(radius)
    a, slope = activation.value(z), activation.slope(z)
    low, high = _rests(activation, z, slope, spread_z)
    center = model.center + a if skips else a
    rounding = rounding_z * slope.abs() + slack * (
        a.abs() + center.abs() + (4.0 + z.abs()) * spread_z + high - low
    )
    low, high = low - rounding, high + rounding
    jacobian = slope[:, None] * jacobian_z
    rest = slope.abs() * rest_z + torch.maximum(-low, high)
    if skips:
        jacobian, rest = jacobian + model.jacobian, rest + model.rest
    rest = rest + slack * (before + spread_z if skips else spread_z)
    layer = _Layer(weight, slope, low, high, before, skips)
    return _Model(center, jacobian, rest), layer


def _rests(
    activation: _Activation, z: torch.Tensor, slope: torch.Tensor, spread: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bounds of e = f(z + d) - f(z) - f'(z) d over |d| <= spread, all (n, units)."""
    bend, change = activation.bend(z), activation.third * spread + 2.0**-40
    least = (bend - change).clamp(*activation.bends).clamp(max=0.0)
    most = (bend + change).clamp(*activation.bends).clamp(min=0.0)
    half_square = 0.5 * spread.square()
    steepest = torch.maximum(activation.slopes[1] - slope, slope - activation.slopes[0])
    line = (steepest + 2.0**-40) * spread  # tighter than the parabola where the box is wide
    return torch.maximum(least * half_square, -line), torch.minimum(most * half_square, line)


def _backward(
    last: nn.Linear, layers: list[_Layer], model: _Model, radius: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bounds of the outputs: remainders and radius, weighted by their effect."""
    weight, bias = last.weight.double(), last.bias.double()
    output = model.center @ weight.T + bias  # (n, n_u)
    spread = model.spread(radius)
    size = (model.center.abs() + spread) @ weight.abs().T + bias.abs()
    rounding = _slack(weight.shape[1]) * size
    low, high = output - rounding, output + rounding
    weights = weight.expand(len(output), *weight.shape)  # of h, (n, n_u, units)
    for layer in reversed(layers):
        positive, negative = weights.clamp(min=0.0), weights.clamp(max=0.0)
        low = low + _applied(positive, layer.low) + _applied(negative, layer.high)
        high = high + _applied(positive, layer.high) + _applied(negative, layer.low)
        through = weights * layer.slope[:, None]
        sizes = through.abs() @ layer.weight.abs()
        direct = weights if layer.skips else torch.zeros_like(sizes)
        rounding = _slack(sum(layer.weight.shape)) * _applied(sizes + direct.abs(), layer.spread)
        low, high = low - rounding, high + rounding
        weights = through @ layer.weight + direct
    linear = _applied(weights.abs(), radius)
    low, high = low - linear, high + linear
    # The sums above have few terms, all of them between output and the ends of the interval.
    outward = 2.0**-40 * (high - low) + 2.0**-48 * output.abs()
    return low - outward, high + outward


def _applied(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return weights (n, n_u, units) times values (n, units), (n, n_u)."""
    return torch.einsum("nju,nu->nj", weights, values)


def _slack(terms: int) -> float:
    """Return a bound of the relative rounding error of an inner product and a few operations."""
    return 4.0 * (terms + 16) * 2.0**-53


def _activation_of(network: ResidualNetwork) -> _Activation:
    kind = type(network.hidden.activation)
    if kind not in _ACTIVATIONS:
        names = ", ".join(known.__name__ for known in _ACTIVATIONS)
        raise ValueError(
            f"the network's activation is {kind.__name__}; bounds are known for {names}: "
            "train with one of those"
        )
    return _ACTIVATIONS[kind]


def _boxes(network: ResidualNetwork, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Return checked boxes (n, 2, n_x) in double precision."""
    inputs = network.hidden.first.in_features
    shape = tuple(lower.shape)
    if lower.shape != upper.shape or len(shape) != 2 or shape[1] != inputs or not shape[0]:
        raise ValueError(
            f"lower has shape {shape} and upper {tuple(upper.shape)}; both have to be (n, {inputs})"
        )
    boxes = torch.stack([lower, upper], dim=1).double()
    if not (torch.isfinite(boxes).all() and (boxes[:, 0] <= boxes[:, 1]).all()):
        raise ValueError("a box is not finite or has lower > upper; swap its corners")
    return boxes


def _bisected(boxes: torch.Tensor) -> torch.Tensor:
    """Return the halves of boxes (n, 2, n_x), cut across their widest side."""
    row = torch.arange(len(boxes))
    side = (boxes[:, 1] - boxes[:, 0]).argmax(dim=1)
    middle = boxes[row, :, side].mean(dim=1)
    left, right = boxes.clone(), boxes.clone()
    left[row, 1, side] = middle
    right[row, 0, side] = middle
    return torch.cat([left, right])
