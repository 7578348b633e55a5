"""Constraint layers against steps by hand, other programs and finite differences."""

import numpy as np
import pytest
import torch

from agents.constraint_layers import (
    AffineLayer,
    HalfSpaceLayer,
    IntervalLayer,
    NullSpaceHead,
    QuadraticRows,
    RepairLayer,
    RepairSettings,
    function_constraint,
)
from safe_envs.control.quadratic_families import dc3, snarenet

FAMILY = snarenet(8, 3, 4, quadratic=2, seed=3)


def start(count=16, family=FAMILY, seed=0):
    x = torch.tensor(family.instances[:count])
    raw = torch.randn(count, family.sizes[0], generator=torch.Generator().manual_seed(seed))
    return raw.double(), x


@pytest.mark.parametrize("rows", ["active", "all"])
def test_one_step_is_the_formula(rows):
    """(J'J + damping I)^-1 J' r, by a dense solution for each instance alone."""
    raw, x = start()
    settings = RepairSettings(rows, damping=0.3, fixed_iterations=1)
    found, _ = RepairLayer(FAMILY.rows, settings)(raw, x)
    given = FAMILY.rows(x)
    for i, y in enumerate(raw.numpy()):
        squares, linear = given.squares[0].numpy(), given.linear[0].numpy()
        value = squares @ y**2 + linear @ y
        jacobian = 2.0 * squares * y + linear
        r = value - np.clip(value, given.lower[i].numpy(), given.upper[i].numpy())
        if rows == "active":
            jacobian = jacobian * (r != 0.0)[:, None]
        step = np.linalg.solve(jacobian.T @ jacobian + 0.3 * np.eye(8), jacobian.T @ r)
        assert found[i].numpy() == pytest.approx(y - step, abs=1e-10)


def test_weights_are_those_of_the_rows():
    """Equation 8: (J' W J + damping I)^-1 J' W r; weights of 1 are none."""
    raw, x = start()
    weights = np.linspace(0.5, 2.0, 7)
    settings = RepairSettings("all", damping=0.3, fixed_iterations=1)
    found, _ = RepairLayer(FAMILY.rows, settings, weights)(raw, x)
    given = FAMILY.rows(x)
    jacobian, values = given.jacobian(raw), given.values(raw)
    r = values - torch.minimum(torch.maximum(values, given.lower), given.upper)
    weighted = jacobian.mT * torch.tensor(weights)
    system = weighted @ jacobian + 0.3 * torch.eye(8, dtype=torch.float64)
    step = torch.linalg.solve(system, weighted @ r[:, :, None])[:, :, 0]
    torch.testing.assert_close(found, raw - step, rtol=0.0, atol=1e-10)
    ones, _ = RepairLayer(FAMILY.rows, settings, np.ones(7))(raw, x)
    assert torch.equal(ones, RepairLayer(FAMILY.rows, settings)(raw, x)[0])


@pytest.mark.parametrize("rows", ["active", "all"])
def test_gradients_of_the_repair(rows):
    """Of a random function of the outputs, by the raw outputs and by x, away from kinks."""
    raw, x = start(3)
    settings = RepairSettings(rows, damping=0.05, fixed_iterations=3)
    layer = RepairLayer(FAMILY.rows, settings)
    raw.requires_grad_()
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda r, p: layer(r, p)[0], (raw, x), eps=1e-7, atol=1e-5)


def test_a_held_target_gives_the_same_outputs_and_another_gradient():
    """The callback of a Theseus layer moves its targets without a gradient."""
    family = snarenet(20, 10, 10, quadratic=5, seed=1)
    raw, x = start(64, family)
    found = {}
    for backward in ("unroll", "last_step"):
        given = raw.clone().requires_grad_()
        settings = RepairSettings("all", fixed_iterations=8, backward=backward)
        outputs, _ = RepairLayer(family.rows, settings)(given, x)
        outputs.square().sum().backward()
        found[backward] = outputs.detach(), given.grad
    assert torch.equal(found["unroll"][0], found["last_step"][0])
    true, held = found["unroll"][1], found["last_step"][1]
    assert (true - held).norm() / true.norm() > 0.9


def test_the_affine_layer_is_one_step_without_damping():
    family = dc3(12, 4, 5)
    raw, x = start(32, family)
    exact, info = AffineLayer(family.rows)(raw, x)
    settings = RepairSettings("all", damping=1e-12, fixed_iterations=1)
    torch.testing.assert_close(
        exact, RepairLayer(family.rows, settings)(raw, x)[0], atol=1e-9, rtol=0
    )
    assert info.violation.max() < 1e-10
    assert info.converged.all()


def test_affine_refuses_squares():
    raw, x = start()
    with pytest.raises(ValueError, match="the rows have squares; use RepairLayer"):
        AffineLayer(FAMILY.rows)(raw, x)


def test_a_function_and_its_rows_are_repaired_alike():
    raw, x = start()
    squares, linear = (torch.tensor(one) for one in (FAMILY.squares, FAMILY.inequalities))
    equalities = torch.tensor(FAMILY.equalities)

    def g(y, _):
        return torch.cat([squares @ y**2 + linear @ y, equalities @ y])

    rows = function_constraint(g, lambda p: FAMILY.rows(p).lower, lambda p: FAMILY.rows(p).upper)
    by_function, by_rows = (RepairLayer(one)(raw, x) for one in (rows, FAMILY.rows))
    torch.testing.assert_close(by_function[0], by_rows[0], rtol=0, atol=1e-12)
    assert torch.equal(by_function[1].iterations, by_rows[1].iterations)


def test_the_null_space_head_meets_the_equalities_whatever_is_repaired():
    raw, x = start()
    head = NullSpaceHead(FAMILY.equalities)
    layer = RepairLayer(head.constraint(FAMILY.inequality_rows))
    free, info = layer(4.0 * raw[:, : head.num_free], x)
    outputs = head(free, x)
    torch.testing.assert_close(outputs @ torch.tensor(FAMILY.equalities).T, x, rtol=0, atol=1e-12)
    given = FAMILY.rows(x)
    assert info.converged.all()
    assert (given.values(outputs) - given.upper).max() <= 1e-6


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), r"shape \(3, 3\)"),
        (np.ones((2, 4)), "depend on each other"),
        (np.full((1, 3), np.nan), "equalities"),
    ],
)
def test_equalities_without_a_head_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        NullSpaceHead(matrix)


def half_space_rows(x):
    """One row x . u >= 1, (B, 1, n)."""
    infinite = torch.full((len(x), 1), torch.inf, dtype=x.dtype)
    return QuadraticRows(x[:, None, :], torch.ones_like(infinite), infinite)


def test_the_half_space_layer_has_the_gradient_of_the_projection():
    rng = torch.Generator().manual_seed(0)
    raw, x = torch.randn(2, 40, 4, generator=rng, dtype=torch.float64)
    layer = HalfSpaceLayer(half_space_rows, -np.ones(4), np.ones(4))
    outputs, info = layer(raw, x)
    reachable = x.abs().sum(-1) >= 1.0
    assert torch.equal(info.converged, reachable)
    assert ((x * outputs).sum(-1) - 1.0)[reachable].min() > -1e-12
    raw.requires_grad_()
    assert torch.autograd.gradcheck(lambda r: layer(r, x)[0], raw, eps=1e-7, atol=1e-6)


def test_an_interval_of_a_parabola():
    """u^2 - 2u <= x: u in 1 +- sqrt(1 + x); for x < -1 there is none, and u = 1 is the least."""

    def rows(x):
        ones = torch.ones_like(x)[:, :, None]
        return QuadraticRows(-2.0 * ones, torch.full_like(x, -torch.inf), x, ones)

    x = torch.tensor([[3.0], [0.0], [-2.0]], dtype=torch.float64)
    raw = torch.tensor([[4.0], [-1.0], [0.0]], dtype=torch.float64)
    outputs, info = IntervalLayer(rows, -5.0, 5.0)(raw, x)
    assert outputs[:, 0].tolist() == [3.0, 0.0, 1.0]
    assert info.converged.tolist() == [True, True, False]


def test_float32_outputs_are_told_as_they_are():
    raw, x = start()
    outputs, info = RepairLayer(FAMILY.rows, RepairSettings(tolerance=1e-9))(raw.float(), x)
    assert outputs.dtype == torch.float32
    given = FAMILY.rows(x)
    values = given.values(outputs.double())
    worst = torch.maximum(values - given.upper, given.lower - values).max(-1).values
    torch.testing.assert_close(info.violation, worst.clamp(min=0.0))
    assert not info.converged.any()  # float32 has seven digits


def test_relaxed_bounds_hold_in_training_only():
    raw, x = start()
    layer = RepairLayer(FAMILY.rows)
    given = FAMILY.rows(x)
    values = given.values(raw)
    layer.relaxation = (
        torch.maximum(values - given.upper, given.lower - values).clamp(min=0).amax(0)
    )
    outputs, info = layer.train()(raw, x)
    assert torch.equal(outputs, raw)
    assert (info.iterations == 0).all()
    assert (layer.eval()(raw, x)[1].iterations > 0).all()


def test_what_cannot_be_repaired_is_told_for_each_instance():
    """NaN, infinity, bounds that contradict each other; the others are repaired, with gradients."""
    raw, x = start(6)
    raw[1, 2], raw[2, 0], raw[3] = torch.nan, torch.inf, 1e200
    x = x.clone()

    def rows(p):
        given = FAMILY.rows(p)
        upper = given.upper.clone()
        upper[4, -1] = given.lower[4, -1] - 1.0
        return given._replace(upper=upper)

    raw.requires_grad_()
    outputs, info = RepairLayer(rows)(raw, x)
    assert info.converged.tolist() == [True, False, False, False, False, True]
    assert info.violation[4] >= 0.5
    (gradient,) = torch.autograd.grad(outputs[[0, 4, 5]].sum(), raw)
    assert torch.isfinite(gradient[[0, 4, 5]]).all()
