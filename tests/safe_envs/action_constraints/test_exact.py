"""Exact repairs against an interior point solver and against grids."""

import numpy as np
import pytest

from safe_envs.action_constraints import QuadraticRows, half_space, interval

LOW, HIGH = np.array([-1.0, -0.5, 0.0, -2.0]), np.array([1.0, 1.5, 1.0, 0.0])


def cases(count, seed):
    rng = np.random.default_rng(seed)
    raw = 1.5 * rng.normal(size=(count, 4))
    normal = rng.normal(size=(count, 4)) * (rng.random((count, 4)) < 0.8)
    return raw, normal, rng.normal(size=count)


def test_the_half_space_is_the_solution_of_the_quadratic_program():
    cvxpy = pytest.importorskip("cvxpy")
    pytest.importorskip("clarabel")
    raw, normal, bound = cases(60, 0)
    found = half_space(raw, normal, bound, LOW, HIGH)
    u, a, b, y = cvxpy.Variable(4), cvxpy.Parameter(4), cvxpy.Parameter(), cvxpy.Parameter(4)
    rows = [a @ u >= b, u >= LOW, u <= HIGH]
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - y)), rows)
    solved = 0
    for i in range(len(raw)):
        a.value, b.value, y.value = normal[i], bound[i], raw[i]
        highest = np.where(normal[i] > 0.0, HIGH, LOW) @ normal[i]
        assert found.feasible[i] == (highest >= bound[i])
        if found.feasible[i]:
            program.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12)
            np.testing.assert_allclose(found.outputs[i], u.value, atol=2e-5)
            solved += 1
        else:
            assert found.outputs[i] @ normal[i] == pytest.approx(highest)
    assert solved > 30


def test_no_point_of_the_half_space_is_nearer():
    """Random points of the set, and points around the answer."""
    rng = np.random.default_rng(1)
    raw, normal, bound = cases(300, 2)
    found = half_space(raw, normal, bound, LOW, HIGH)
    where = found.feasible
    assert (found.outputs >= LOW).all()
    assert (found.outputs <= HIGH).all()
    slack = (normal * found.outputs).sum(axis=1) - bound
    assert slack[where].min() > -1e-12
    distance = np.linalg.norm(found.outputs - raw, axis=1)
    for spread in (3.0, 0.3, 0.01):
        tried = found.outputs + spread * rng.normal(size=(400, *raw.shape))
        tried = np.clip(tried, LOW, HIGH)
        allowed = (tried * normal).sum(axis=2) >= bound
        nearer = np.linalg.norm(tried - raw, axis=2) < distance - 1e-12
        assert not (allowed & nearer)[:, where].any()


def test_outputs_that_are_allowed_stay():
    raw, normal, _ = cases(50, 3)
    inside = np.clip(raw, LOW, HIGH)
    found = half_space(inside, normal, (normal * inside).sum(axis=1) - 0.1, LOW, HIGH)
    np.testing.assert_array_equal(found.outputs, inside)
    free = half_space(raw, normal, np.full(50, -np.inf), LOW, HIGH)
    np.testing.assert_array_equal(free.outputs, inside)
    assert free.feasible.all()


def test_half_spaces_of_special_input():
    raw = np.zeros((3, 2))
    normal = np.array([[0.0, 0.0], [1.0, 0.0], [np.nan, 1.0]])
    found = half_space(raw, normal, np.array([1.0, 1.0, 0.5]), -np.ones(2), np.ones(2))
    assert found.feasible[:2].tolist() == [False, True]  # 0 >= 1 holds nowhere
    np.testing.assert_array_equal(found.outputs[:2], [[0.0, 0.0], [1.0, 0.0]])
    lost = half_space(np.array([[np.nan, 0.0]]), normal[1:2], np.ones(1), -np.ones(2), np.ones(2))
    assert not lost.feasible[0]
    with pytest.raises(ValueError, match="both have to be finite"):
        half_space(raw, normal, np.ones(3), np.full(2, -np.inf), np.ones(2))


def test_the_interval_is_the_nearest_of_a_grid():
    rng = np.random.default_rng(4)
    count, k = 200, 3
    squares = rng.uniform(0.0, 2.0, size=(count, k, 1)) * (rng.random((count, k, 1)) < 0.6)
    linear = rng.normal(size=(count, k, 1)) * (rng.random((count, k, 1)) < 0.9)
    upper = rng.uniform(-0.3, 1.5, size=(count, k))
    lower = np.where(squares[:, :, 0] > 0.0, -np.inf, -rng.uniform(0.0, 1.0, size=(count, k)))
    lower = np.minimum(lower, upper)
    rows = QuadraticRows(linear, lower, upper, squares)
    raw = rng.normal(size=(count, 1))
    found = interval(raw, rows, -np.ones(1), np.ones(1))
    grid = np.linspace(-1.0, 1.0, 4001)
    values = squares * grid**2 + linear * grid  # (count, k, grid)
    allowed = ((values <= upper[:, :, None]) & (values >= lower[:, :, None])).all(axis=1)
    some = allowed.any(axis=1)
    assert found.feasible[some].all()
    assert (found.feasible & ~some).mean() < 0.02  # intervals between two points of the grid
    nearest = np.where(allowed, np.abs(grid - raw), np.inf).min(axis=1)
    distance = np.abs(found.outputs - raw)[:, 0]
    assert (distance[some] <= nearest[some] + 1e-12).all()
    assert np.abs(distance - nearest)[some].max() < 6e-4  # the grid's step
    kept = rows.values(found.outputs)
    assert (kept <= upper + 1e-12)[found.feasible].all()
    assert (kept >= lower - 1e-12)[found.feasible].all()
    assert (~found.feasible).sum() > 5


def test_an_empty_interval_gives_the_least_value():
    rows = QuadraticRows(np.array([[[-0.8]]]), np.array([[-np.inf]]), np.array([[-1.0]]),
                         np.ones((1, 1, 1)))  # fmt: skip
    found = interval(np.array([[0.9]]), rows, -np.ones(1), np.ones(1))
    assert not found.feasible[0]
    assert found.outputs[0, 0] == pytest.approx(0.4)  # where u^2 - 0.8 u is least
    apart = QuadraticRows(np.ones((1, 2, 1)), np.array([[0.5, -np.inf]]), np.array([[np.inf, 0.1]]))
    found = interval(np.array([[0.9]]), apart, -np.ones(1), np.ones(1))
    assert not found.feasible[0]
    assert found.outputs[0, 0] == pytest.approx(0.3)  # between u >= 0.5 and u <= 0.1


def test_rows_that_no_output_changes_leave_the_others_alone():
    """0 u >= 1 is met nowhere; u >= 0.5 is, at 0.8 and at its own end."""
    rows = QuadraticRows(
        np.array([[[0.0], [1.0]]]), np.array([[1.0, 0.5]]), np.full((1, 2), np.inf)
    )
    low, high = -np.ones(1), np.ones(1)
    for raw, expected in ((0.8, 0.8), (0.2, 0.5)):
        found = interval(np.array([[raw]]), rows, low, high)
        assert not found.feasible[0]
        assert found.outputs[0, 0] == expected


@pytest.mark.parametrize(("square", "lower"), [(-1.0, -np.inf), (1.0, 0.0)])
def test_two_intervals_are_refused(square, lower):
    rows = QuadraticRows(np.ones((1, 1, 1)), np.full((1, 1), lower), np.ones((1, 1)),
                         np.full((1, 1, 1), square))  # fmt: skip
    with pytest.raises(ValueError, match="may allow two intervals; use the repair by"):
        interval(np.zeros((1, 1)), rows, -np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="the outputs have 2 numbers; an interval has one"):
        interval(np.zeros((1, 2)), rows, -np.ones(1), np.ones(1))
