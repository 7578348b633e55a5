"""Penalties and relaxations against numbers by hand."""

import pytest
import torch

from agents.constraint_layers import AdaptiveRelaxation, QuadraticRows, RepairLayer, SoftPenalty
from agents.constraint_layers.relaxation import largest_violations

# Rows y1 in [0, 1] and y1 + y2 = 3, at y = (3, 4) and (-2, 5): above by 2 and 4; below by 2, met.
ROWS = QuadraticRows(
    torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]),
    torch.tensor([[0.0, 3.0]]),
    torch.tensor([[1.0, 3.0]]),
)
OUTPUTS = torch.tensor([[3.0, 4.0], [-2.0, 5.0]])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("squared", [10.0 * (4.0 + 16.0), 7.0 * 4.0]), ("norm", [10.0 * 20.0**0.5, 7.0 * 2.0])],
)
def test_upper_and_lower_weights(kind, expected):
    found = SoftPenalty(10.0, 7.0, kind)(OUTPUTS, ROWS)
    assert found.tolist() == pytest.approx(expected)


def test_the_norm_has_no_slope_where_all_rows_are_met():
    met = torch.tensor([[0.5, 2.5]], requires_grad=True)
    SoftPenalty(kind="norm")(met, ROWS).sum().backward()
    assert met.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"upper_weight": -1.0}, "upper_weight is -1"), ({"kind": "cubic"}, "kind is 'cubic'")],
)
def test_other_penalties_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftPenalty(**arguments)


@pytest.mark.parametrize(
    ("shape", "shares"),
    [
        ("linear", [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        ("harmonic", [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]),
        ("linear_harmonic", [1.0, 0.75 / 2, 0.5 / 3, 0.25 / 4, 0.0, 0.0]),
    ],
)
def test_relaxations(shape, shares):
    start = torch.tensor([2.0, 4.0])
    relaxation = AdaptiveRelaxation(start, 4, shape)
    for step, share in enumerate(shares):
        assert relaxation.at(step).tolist() == pytest.approx((share * start).tolist())


def test_the_first_relaxation_leaves_every_instance_as_it_is():
    start = largest_violations(ROWS, OUTPUTS)
    assert start.tolist() == [2.0, 4.0]
    layer = RepairLayer(lambda x: ROWS._replace(**doubled()))
    layer.relaxation = AdaptiveRelaxation(start, 4).at(0)
    outputs, info = layer(OUTPUTS, torch.zeros(2, 1))
    assert torch.equal(outputs, OUTPUTS)
    assert info.iterations.tolist() == [0, 0]


def doubled():
    return {name: getattr(ROWS, name).double() for name in ("linear", "lower", "upper")}
