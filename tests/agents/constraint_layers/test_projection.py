"""The projection by cvxpylayers against cvxpy, finite differences and the rank of a projection."""

import pytest
import torch

from agents.constraint_layers import ProjectionLayer, QuadraticRows
from baselines.diagnostics.ranks import ranks
from safe_envs.control.quadratic_families import snarenet

cp = pytest.importorskip("cvxpy")
pytest.importorskip("cvxpylayers")
pytest.importorskip("moreau")

FAMILY = snarenet(8, 3, 4, quadratic=2, seed=3)


def start(count=8):
    x = torch.tensor(FAMILY.instances[:count])
    raw = torch.randn(count, 8, generator=torch.Generator().manual_seed(0)).double()
    return raw, x


@pytest.fixture(scope="module")
def layer():
    return ProjectionLayer(FAMILY.rows, torch.tensor(FAMILY.instances[0]))


def test_the_outputs_are_the_nearest_feasible_ones(layer):
    raw, x = start()
    outputs, info = layer(raw, x)
    y, center, right = cp.Variable(8), cp.Parameter(8), cp.Parameter(3)
    bent = FAMILY.inequalities @ y + FAMILY.squares @ cp.square(y)
    rows = [FAMILY.equalities @ y == right, bent <= FAMILY.bounds]
    nearest = cp.Problem(cp.Minimize(cp.sum_squares(y - center)), rows)
    for i in range(len(raw)):
        center.value, right.value = raw[i].numpy(), x[i].numpy()
        nearest.solve(solver=cp.CLARABEL)
        assert outputs[i].detach().numpy() == pytest.approx(y.value, abs=1e-4)
    assert info.violation.max() < 1e-8
    assert info.converged.all()


def test_the_gradient_is_that_of_finite_differences(layer):
    raw, x = start(3)
    raw.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda r: layer(r, x)[0], raw, eps=1e-5, atol=1e-3, rtol=1e-3, fast_mode=True
    )


def test_the_rank_is_that_of_the_face(layer):
    """A projection keeps the directions that no equality and no active inequality takes."""
    raw, x = start()
    raw.requires_grad_()
    outputs, _ = layer(raw, x)
    rows = [torch.autograd.grad(outputs[:, i].sum(), raw, retain_graph=True)[0] for i in range(8)]
    sizes = torch.linalg.svdvals(torch.stack(rows, dim=1)).numpy()
    values = FAMILY.rows(x).values(outputs.detach())[:, :4].numpy()
    active = (values > FAMILY.bounds - 1e-6).sum(axis=1)
    assert active.any()
    linear = [i for i in range(len(raw)) if not (values[i, :2] > FAMILY.bounds[:2] - 1e-6).any()]
    assert linear  # where a quadratic row is active, the face is curved
    for i in linear:
        assert ranks(sizes[i]).effective == pytest.approx(8 - 3 - active[i], abs=0.05)


def test_what_is_not_finite_is_told_and_the_others_are_projected(layer):
    raw, x = start(3)
    raw[1, 0] = torch.nan
    outputs, info = layer(raw, x)
    assert info.converged.tolist() == [True, False, True]
    assert torch.isfinite(outputs[[0, 2]]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"squares": -torch.tensor(FAMILY.squares)[None]}, "has to be convex"),
        ({"linear": torch.ones(2, 4, 8).double()}, "one entry per instance"),
    ],
)
def test_rows_that_it_cannot_project_on_are_refused(change, message):
    given = FAMILY.inequality_rows(torch.tensor(FAMILY.instances[:1]))._replace(**change)
    assert isinstance(given, QuadraticRows)
    with pytest.raises(ValueError, match=message):
        ProjectionLayer(lambda x: given, torch.tensor(FAMILY.instances[0]))


def test_an_equality_that_is_none_elsewhere_is_refused():
    def rows(x):
        given = FAMILY.rows(x)
        loose = (x[:, :1] > 0.0).double()
        upper = given.upper.clone()
        upper[:, -1:] = upper[:, -1:] + loose
        return given._replace(upper=upper)

    x = torch.tensor(FAMILY.instances)
    below, above = x[x[:, 0] < 0.0][:2], x[x[:, 0] > 0.0][:2]
    layer = ProjectionLayer(rows, below[0])
    layer(torch.zeros(2, 8).double(), below)
    with pytest.raises(ValueError, match="must not depend on x"):
        layer(torch.zeros(2, 8).double(), above)


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="solver is 'OSQP'"):
        ProjectionLayer(FAMILY.rows, torch.tensor(FAMILY.instances[0]), "OSQP")


def test_gradients_reach_x_as_well(layer):
    raw, x = start(2)
    x.requires_grad_()
    layer(raw, x)[0].sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().max() > 0.0
