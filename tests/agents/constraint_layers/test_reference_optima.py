import cvxpy as cp
import numpy as np
import pytest

from agents.constraint_layers import reference_optima
from agents.constraint_layers.reference_optima import convex_optima, local_optima, optimal_values
from safe_envs.control.quadratic_families import dc3, snarenet
from safe_envs.control.quadratic_optimum import local_optimum, unbalanced_gradient

PUBLISHED = {False: -15.05, True: -11.59}  # DC3 (arXiv 2104.12225), by OSQP and IPOPT, seed 17
CONVEX = {
    "snarenet": lambda: snarenet(quadratic=5),
    "snarenet all": lambda: snarenet(12, 4, 9, seed=3),
    "snarenet linear": lambda: snarenet(12, 4, 9, quadratic=0, seed=3),
    "dc3": lambda: dc3(40, 20, 20, seed=2),
}
convex = pytest.mark.parametrize("make", CONVEX.values(), ids=list(CONVEX))


@convex
def test_convex_optima_equal_cvxpys(make):
    family = make()
    x = family.instances[-4:]
    for one, found in zip(x, convex_optima(family, x), strict=True):
        y = cp.Variable(family.sizes[0])
        objective = 0.5 * cp.sum(cp.multiply(family.curvature, cp.square(y))) + family.slope @ y
        left = family.inequalities @ y
        if family.squares is not None:
            left = left + family.squares @ cp.square(y)
        rows = [family.equalities @ y == one, left <= family.bounds]
        problem = cp.Problem(cp.Minimize(objective), rows)
        problem.solve(solver=cp.CLARABEL)
        assert family.objective(found[None])[0] == pytest.approx(problem.value, abs=1e-6)


@convex
def test_convex_optima_meet_the_first_order_conditions(make):
    family = make()
    x = family.instances[:20]
    for one, y in zip(x, convex_optima(family, x), strict=True):
        left, whole = unbalanced_gradient(family, y)
        assert left < 1e-4 * whole
        assert np.abs(family.equalities @ y - one).max() < 1e-7


@convex
def test_two_solvers_agree(make):
    family = make()
    x = family.instances[40:50]
    conic = family.objective(convex_optima(family, x))
    active_set = [local_optimum(family, one).value for one in x]
    np.testing.assert_allclose(conic, active_set, atol=2e-7)
    np.testing.assert_allclose(family.objective(local_optima(family, x, 2)), conic, atol=2e-7)


@pytest.mark.parametrize("sine", [False, True])
def test_mean_of_the_published_test_part(sine):
    """On every 20th of DC3's 833 test points, to keep the test short.

    The means over all of them are -15.0469 and -11.5923.
    """
    family = dc3(sine=sine)
    values = optimal_values(family, family.parts["testing"][::20])
    error = values.std() / len(values) ** 0.5
    assert error < 0.1
    assert values.mean() == pytest.approx(PUBLISHED[sine], abs=4 * error)


def test_more_starts_are_never_worse():
    family = dc3(12, 4, 8, sine=True, seed=6)
    x = family.instances[:4]
    one, more = (family.objective(local_optima(family, x, starts)) for starts in (1, 6))
    assert (more <= one + 1e-9).all()
    np.testing.assert_array_equal(local_optima(family, x, 3), local_optima(family, x, 3))


@pytest.fixture
def counted(monkeypatch):
    """The families whose values were computed and not read."""
    solved, solve = [], reference_optima._solved
    monkeypatch.setattr(
        reference_optima, "_solved", lambda family, x: (solved.append(family), solve(family, x))[1]
    )
    return solved


def test_values_are_kept(tmp_path, counted):
    family = snarenet(8, 3, 4, seed=1)
    x = family.instances[:3]
    first = optimal_values(family, x, tmp_path / "new")
    np.testing.assert_array_equal(
        optimal_values(snarenet(8, 3, 4, seed=1), x, tmp_path / "new"), first
    )
    assert len(counted) == 1
    np.testing.assert_array_equal(first, optimal_values(family, x))
    others = [(family, x[:2]), (family, x[::-1]), (snarenet(8, 3, 4, seed=2), x)]
    for other, its_x in others:
        optimal_values(other, its_x, tmp_path / "new")
    assert len(counted) == 5
    assert len(list((tmp_path / "new").iterdir())) == 4


def npy(path, array):
    with path.open("wb") as file:
        np.save(file, array)


def change_numbers(path):
    with np.load(path) as arrays:
        values = arrays["values"]
    path.write_bytes(path.read_bytes().replace(values.tobytes(), (values + 1.0).tobytes()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:60]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"text"),
        lambda path: np.savez(path, values=np.zeros(2)),
        lambda path: np.savez(path, values=np.array([0.0, np.nan, 1.0])),
        lambda path: np.savez(path, other=np.zeros(3)),
        lambda path: np.savez(path, values=np.array([None] * 3)),
        lambda path: change_numbers(path),
        lambda path: npy(path, np.zeros(3)),
    ],
    ids=["cut", "empty", "text", "shape", "nan", "name", "pickled", "numbers", "npy"],
)
def test_damaged_files_are_replaced(tmp_path, counted, damage):
    family = snarenet(8, 3, 4, seed=1)
    x = family.instances[:3]
    first = optimal_values(family, x, tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    with pytest.warns(UserWarning, match=r"optima_\w+\.npz is damaged .* it is computed again"):
        np.testing.assert_array_equal(optimal_values(family, x, tmp_path), first)
    np.testing.assert_array_equal(optimal_values(family, x, tmp_path), first)
    assert len(counted) == 2


def test_refusals():
    family = snarenet(8, 3, 4, seed=1)
    with pytest.raises(ValueError, match=r"x has shape \(3,\); pass finite numbers .* \(B, 3\)"):
        convex_optima(family, np.zeros(3))
    with pytest.raises(ValueError, match="the family is not convex"):
        convex_optima(dc3(8, 3, 4, sine=True), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="starts is 0; pass a whole number >= 1"):
        local_optima(family, np.zeros((1, 3)), starts=0)
    with pytest.raises(RuntimeError, match="PrimalInfeasible at instance 1; x may have no"):
        convex_optima(family, np.array([np.zeros(3), np.full(3, 90.0)]))
    with pytest.raises(RuntimeError, match="none of 2 starts led to an optimum of instance 0"):
        local_optima(family, np.full((1, 3), 90.0), starts=2)


def test_no_instance():
    family = snarenet(8, 3, 4, seed=1)
    assert convex_optima(family, np.empty((0, 3))).shape == (0, 8)
    assert optimal_values(family, np.empty((0, 3))).shape == (0,)
