import numpy as np
import pytest

from safe_envs.control.quadratic_families import QuadraticFamily, dc3, snarenet
from safe_envs.control.quadratic_optimum import local_optimum, unbalanced_gradient

CONVEX = {
    "snarenet": lambda: snarenet(quadratic=5),
    "snarenet all": lambda: snarenet(12, 4, 9, seed=3),
    "linear rows": lambda: dc3(15, 5, 10, seed=2),
}


@pytest.mark.parametrize("make", CONVEX.values(), ids=list(CONVEX))
def test_convex_optimum_equals_cvxpys(make):
    cp = pytest.importorskip("cvxpy")
    family = make()
    for x in family.instances[:3]:
        y = cp.Variable(family.sizes[0])
        objective = 0.5 * cp.sum(cp.multiply(family.curvature, cp.square(y))) + family.slope @ y
        left = family.inequalities @ y
        if family.squares is not None:
            left = left + family.squares @ cp.square(y)
        problem = cp.Problem(
            cp.Minimize(objective), [family.equalities @ y == x, left <= family.bounds]
        )
        problem.solve(solver=cp.CLARABEL)
        found = local_optimum(family, x)
        assert found.value == pytest.approx(problem.value, abs=1e-6)
        np.testing.assert_allclose(found.outputs, y.value, atol=2e-3)
        assert np.abs(family.equalities @ found.outputs - x).max() < 1e-12


def test_one_program_by_hand():
    """min y1^2/2 + y2^2/2 - y1 - y2 with y1 - y2 = 0 and y1^2 + y2^2 <= 0.5 is y = (0.5, 0.5)."""
    family = QuadraticFamily(
        curvature=np.ones(2),
        slope=-np.ones(2),
        sine=False,
        equalities=np.array([[1.0, -1.0]]),
        inequalities=np.zeros((1, 2)),
        bounds=np.array([0.5]),
        instances=np.zeros((1, 1)),
        squares=np.ones((1, 2)),
    )
    found = local_optimum(family, np.zeros(1))
    np.testing.assert_allclose(found.outputs, 0.5, atol=1e-8)
    assert found.value == pytest.approx(0.25 - 1.0, abs=1e-8)
    left, whole = unbalanced_gradient(family, found.outputs)
    assert left < 1e-8
    assert whole == pytest.approx(0.5)
    # Nothing holds the gradient -(1, 1) at 0, which is sqrt(2) along the equality.
    left, _ = unbalanced_gradient(family, np.zeros(2))
    assert left == pytest.approx(2.0**0.5)


def test_nearby_points_of_a_sine_family_are_no_better():
    family = dc3(12, 4, 8, sine=True, seed=6)
    rng = np.random.default_rng(0)
    for x in family.instances[:3]:
        found = local_optimum(family, x)
        u = 1e-2 * rng.normal(size=(3000, 8))
        points = found.outputs + u @ family.null_space.T
        feasible = (points @ family.inequalities.T <= family.bounds).all(axis=1)
        assert feasible.sum() > 10
        assert family.objective(points[feasible]).min() > found.value - 1e-9


def test_refuses_a_program_without_feasible_outputs():
    family = snarenet(6, 2, 4, seed=1)
    with pytest.raises(RuntimeError, match=r"no optimum was found at x = \[90.0, 90.0\]: SLSQP"):
        local_optimum(family, np.full(2, 90.0))
