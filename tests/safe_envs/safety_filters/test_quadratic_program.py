"""The filter's quadratic program against other solvers, closed forms and its own refusals."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from safe_envs.safety_filters import floored, project
from safe_envs.safety_filters import quadratic_program as program

SLACK_WEIGHT = 1e4


def random_metric(rng, count):
    factor = rng.normal(size=(count, count))
    return factor @ factor.T + 0.1 * np.eye(count)


def random_program(rng, count=4, rows=4, spread=2.0):
    return {
        "metric": random_metric(rng, count),
        "reference": rng.uniform(0.0, 1.0, count),
        "rows": rng.normal(size=(rows, count)) * 10.0 ** rng.uniform(-spread, spread, (rows, 1)),
        "bounds": rng.normal(size=rows),
        "low": np.zeros(count),
        "high": np.ones(count),
    }


def by_hand(p):
    """Return the normalized metric, rows and bounds."""
    metric = p["metric"] * len(p["metric"]) / np.trace(p["metric"])
    lengths = np.linalg.norm(p["rows"], axis=1)
    return metric, p["rows"] / lengths[:, None], p["bounds"] / lengths


def cost(p, action, slack):
    metric, _, _ = by_hand(p)
    change = action - p["reference"]
    return 0.5 * change @ metric @ change + 0.5 * SLACK_WEIGHT * slack**2


@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_scipy(seed):
    rng = np.random.default_rng(seed)
    p = random_program(rng, count=int(rng.integers(1, 6)), rows=int(rng.integers(1, 7)))
    found = project(**p)
    metric, rows, bounds = by_hand(p)
    count = len(metric)
    scale = SLACK_WEIGHT**0.5  # the solver's slack is sqrt(rho) eps
    hessian = np.eye(count + 1)
    hessian[:count, :count] = metric
    matrix = np.column_stack([rows, np.full(len(rows), 1.0 / scale)])
    target = np.append(p["reference"], 0.0)
    outcome = minimize(
        lambda z: 0.5 * (z - target) @ hessian @ (z - target),
        np.append(np.full(count, 0.5), 1e3 * scale),
        jac=lambda z: hessian @ (z - target),
        bounds=[(0.0, 1.0)] * count + [(0.0, None)],
        constraints={"type": "ineq", "fun": lambda z: matrix @ z - bounds, "jac": lambda z: matrix},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.status in ("kept", "solved")
    np.testing.assert_allclose(found.action, outcome.x[:count], atol=1e-6)
    assert found.slack == pytest.approx(outcome.x[-1] / scale, abs=1e-6)


def test_agrees_with_clarabel():
    cvxpy = pytest.importorskip("cvxpy")
    for seed in range(8):
        p = random_program(np.random.default_rng(100 + seed), count=4, rows=8, spread=1.0)
        metric, rows, bounds = by_hand(p)
        action, slack = cvxpy.Variable(4), cvxpy.Variable()
        change = cvxpy.quad_form(action - p["reference"], cvxpy.psd_wrap(metric))
        cvxpy.Problem(
            cvxpy.Minimize(0.5 * change + 0.5 * SLACK_WEIGHT * cvxpy.square(slack)),
            [rows @ action + slack >= bounds, action >= 0, action <= 1, slack >= 0],
        ).solve(cvxpy.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13)
        found = project(**p)
        np.testing.assert_allclose(found.action, action.value, atol=1e-6)
        assert found.slack == pytest.approx(float(slack.value), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 12))
def test_the_solution_is_feasible_and_no_neighbor_is_better(seed, count, rows):
    rng = np.random.default_rng(seed)
    p = random_program(rng, count, rows)
    found = project(**p)
    _, matrix, bounds = by_hand(p)
    assert ((found.action >= 0.0) & (found.action <= 1.0)).all()
    assert (matrix @ found.action + found.slack >= bounds - 1e-8).all()
    best = cost(p, found.action, found.slack)
    for size in (1e-3, 1e-1):
        for _ in range(10):
            action = np.clip(found.action + size * rng.normal(size=count), 0.0, 1.0)
            slack = np.max(bounds - matrix @ action, initial=0.0)
            assert best <= cost(p, action, slack) * (1.0 + 1e-9) + 1e-12


def test_one_row_has_a_closed_form():
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = random_program(rng, rows=1) | {"low": -1e6, "high": 1e6}
        metric, rows, bounds = by_hand(p)
        missing = bounds[0] - rows[0] @ p["reference"]
        step = np.linalg.solve(metric, rows[0])
        price = max(missing, 0.0) / (rows[0] @ step + 1.0 / SLACK_WEIGHT)
        found = project(**p)
        np.testing.assert_allclose(found.action, p["reference"] + price * step, atol=1e-9)
        assert found.slack == pytest.approx(price / SLACK_WEIGHT, abs=1e-9)
        assert found.active == (missing > 0.0)


def test_a_safe_reference_is_kept_as_it_is():
    reference = np.array([0.3, 0.7])
    for gradient in (None, np.array([5.0, -5.0])):
        found = project(np.eye(2), reference, [[1.0, 1.0]], [1.0], 0.0, 1.0, gradient=gradient)
        assert found[1:] == (0.0, False, "kept")
        assert np.array_equal(found.action, reference)


def test_without_rows_the_reference_is_clipped():
    found = project(np.eye(2), [1.5, 0.5], np.empty((0, 2)), [], 0.0, 1.0)
    np.testing.assert_allclose(found.action, [1.0, 0.5])
    assert found.active
    assert found.slack == 0.0


def test_the_gradient_moves_the_unconstrained_maximizer():
    rng = np.random.default_rng(1)
    p = random_program(rng, rows=1) | {"low": -1e6, "high": 1e6}
    gradient = rng.normal(size=4)
    p["bounds"] = p["rows"] @ p["reference"] + 1.0  # broken by the reference
    moved = p | {"reference": p["reference"] + np.linalg.solve(p["metric"], gradient)}
    if p["rows"][0] @ moved["reference"] >= p["bounds"][0]:
        gradient = -gradient
        moved["reference"] = 2.0 * p["reference"] - moved["reference"]
    expected, found = project(**moved), project(**p, gradient=gradient)
    np.testing.assert_allclose(found.action, expected.action, atol=1e-8)


def test_the_scale_of_metric_and_rows_does_not_matter():
    p = random_program(np.random.default_rng(2), spread=0.0)
    scaled = p | {"metric": 1e5 * p["metric"], "rows": 1e-3 * p["rows"]}
    scaled["bounds"] = 1e-3 * p["bounds"]
    np.testing.assert_allclose(project(**p).action, project(**scaled).action, atol=1e-8)


def test_rows_that_no_action_meets_share_one_slack():
    found = project(np.eye(1), [0.5], [[1.0], [-1.0]], [3.0, 1.0], 0.0, 1.0)
    assert found.slack == pytest.approx(2.0, abs=1e-3)  # u + eps >= 3, -u + eps >= 1
    assert found.action == pytest.approx([1.0], abs=1e-3)
    hopeless = project(np.eye(2), [0.5, 0.5], [[0.0, 0.0]], [1.0], 0.0, 1.0)
    assert hopeless.slack > 1.0
    np.testing.assert_allclose(hopeless.action, [0.5, 0.5])


def without_formula(monkeypatch):
    monkeypatch.setattr(program, "_nearest_if_one_row_decides", lambda *args: None)


def test_where_one_row_decides_the_formula_agrees_with_the_solver(monkeypatch):
    by_formula = 0
    for seed in range(300):
        p = random_program(np.random.default_rng(seed), rows=1 + seed % 4)
        p |= {"low": -3.0, "high": 4.0}
        with monkeypatch.context() as patch:
            patch.setattr(program.daqp, "solve", failing)
            found = project(**p)
        if found.status != "solved":
            continue
        by_formula += 1
        with monkeypatch.context() as patch:
            without_formula(patch)
            expected = project(**p)
        np.testing.assert_allclose(found.action, expected.action, atol=1e-8)
        assert found.slack == pytest.approx(expected.slack, rel=1e-6, abs=1e-8)
    assert by_formula > 50


def failing(*args, **kwargs):
    return None, 0.0, -1, {}


def test_a_failure_of_the_solver_is_made_good_and_reported(monkeypatch):
    without_formula(monkeypatch)
    for seed in range(30):
        p = random_program(np.random.default_rng(seed))
        expected = project(**p)
        with monkeypatch.context() as patch:
            patch.setattr(program.daqp, "solve", failing)
            found = project(**p)
        assert found.status == ("fallback" if expected.active else "kept")
        np.testing.assert_allclose(found.action, expected.action, atol=1e-7)
        assert found.slack == pytest.approx(expected.slack, rel=1e-6, abs=1e-7)


def test_a_failure_of_both_solvers_is_reported_with_the_rows_violation(monkeypatch):
    def lost(*args, **kwargs):
        raise RuntimeError("too many iterations")

    monkeypatch.setattr(program.daqp, "solve", failing)
    monkeypatch.setattr(program, "nnls", lost)
    found = project(np.eye(2), [2.0, 0.5], [[0.0, 2.0]], [1.6], 0.0, 1.0)
    np.testing.assert_allclose(found.action, [1.0, 0.5])
    assert found.status == "failed"
    assert found.active
    assert found.slack == pytest.approx(0.3)


def test_bounds_that_no_point_meets_are_an_error_of_the_second_solver():
    with pytest.raises(ArithmeticError, match="no point"):
        program.least_distance(
            np.eye(1), np.zeros(1), np.ones((1, 1)), np.array([0.0, 2.0]), np.array([1.0, 3.0])
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": np.ones((2, 3))}, "metric has shape (2, 3); pass a square"),
        ({"metric": np.full((4, 4), np.nan)}, "metric contains NaN"),
        ({"metric": np.triu(np.ones((4, 4)))}, "metric is not symmetric"),
        ({"metric": np.diag([1.0, 1.0, 1.0, -1.0])}, "not positive definite, its eigenvalues"),
        ({"metric": np.zeros((4, 4))}, "not positive definite"),
        ({"reference": np.ones(3)}, "reference has shape (3,); pass an array of shape (4,)"),
        ({"reference": [np.nan] * 4}, "reference [nan, nan, nan, nan] contains NaN"),
        ({"rows": np.ones((2, 3))}, "rows have shape (2, 3) and bounds (1,); pass (k, 4) and (k,)"),
        ({"bounds": np.ones(2)}, "rows have shape (1, 4) and bounds (2,)"),
        ({"bounds": [np.inf]}, "leave out rows that never bind"),
        ({"low": 2.0}, "exceeds high"),
        ({"slack_weight": 0.0}, "slack_weight is 0.0; pass a positive number"),
        ({"gradient": np.ones(3)}, "gradient has shape (3,)"),
    ],
)
def test_refuses_what_makes_no_program(changes, message):
    good = {
        "metric": np.eye(4),
        "reference": np.full(4, 0.5),
        "rows": np.ones((1, 4)),
        "bounds": np.array([1.0]),
        "low": 0.0,
        "high": 1.0,
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        project(**(good | changes))


def test_small_eigenvalues_are_raised_to_a_share_of_the_largest():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    metric = rotation @ np.diag([-1.0, 0.5, 10.0]) @ rotation.T
    expected = rotation @ np.diag([1.0, 1.0, 10.0]) @ rotation.T
    np.testing.assert_allclose(floored(metric), expected, atol=1e-12)
    with pytest.raises(ValueError, match="no positive eigenvalue"):
        floored(-np.eye(2))
