"""The steps of the repair against formulas written out here, and input that cannot be repaired."""

import numpy as np
import pytest

from safe_envs.action_constraints import QuadraticRows, RepairSettings, repair, residual, violation
from safe_envs.control.quadratic_families import snarenet

ONE_STEP = {"max_iterations": 1, "tolerance": 1e-12}


def some_rows(rng, count, k, n, squares=True):
    """Rows of every kind: upper and lower bounds alone, both, equalities, and none."""
    lower = rng.normal(size=(count, k)) - 1.0
    upper = lower + rng.uniform(0.0, 2.0, size=(count, k))
    kinds = rng.integers(0, 5, size=(count, k))
    lower[(kinds == 0) | (kinds == 4)] = -np.inf
    upper[(kinds == 1) | (kinds == 4)] = np.inf
    equal = kinds == 2
    upper[equal] = lower[equal]
    curved = rng.uniform(-0.3, 0.3, size=(count, k, n)) if squares else None
    return QuadraticRows(rng.normal(size=(count, k, n)), lower, upper, curved)


def repaired(raw, given, weights=None, **settings):
    return repair(
        raw,
        given.values,
        given.jacobian,
        given.lower,
        given.upper,
        RepairSettings(**settings),
        weights,
    )


def residual_by_clipping(values, lower, upper):
    return values - np.minimum(np.maximum(values, lower), upper)


def step_of(raw, rows, damping, active, weights=None):
    """(J'WJ + damping I)^-1 J'Wr, one instance after the other."""
    found = []
    for i, y in enumerate(raw):
        slope = rows.linear[i] + 2.0 * rows.squares[i] * y
        g = rows.linear[i] @ y + rows.squares[i] @ (y * y)
        r = residual_by_clipping(g, rows.lower[i], rows.upper[i])
        if active:
            slope = slope * (r != 0.0)[:, None]
        w = np.diag(np.ones(len(r)) if weights is None else weights)
        system = slope.T @ w @ slope + damping * np.eye(len(y))
        found.append(np.linalg.solve(system, slope.T @ w @ r))
    return np.array(found)


@pytest.mark.parametrize("k", [3, 6, 11])  # the dual form, both alike, the primal form
@pytest.mark.parametrize("kind", ["all", "active"])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_step_is_that_of_the_formula(k, kind, weighted):
    rng = np.random.default_rng(k)
    rows = some_rows(rng, 40, k, 6)
    raw = 3.0 * rng.normal(size=(40, 6))
    weights = rng.uniform(0.2, 4.0, size=k) if weighted else None
    found = repaired(raw, rows, weights, rows=kind, damping=0.05, **ONE_STEP)
    expected = raw - step_of(raw, rows, 0.05, kind == "active", weights)
    assert (found.iterations <= 1).all()
    assert found.iterations.sum() > 30
    np.testing.assert_allclose(found.outputs, expected, rtol=0.0, atol=1e-10)


def test_weights_of_one_are_none():
    rng = np.random.default_rng(0)
    rows, raw = some_rows(rng, 20, 4, 6), rng.normal(size=(20, 6))
    plain, weighted = repaired(raw, rows), repaired(raw, rows, np.ones(4))
    np.testing.assert_array_equal(plain.outputs, weighted.outputs)


def test_the_residual_of_infinite_bounds():
    rng = np.random.default_rng(1)
    rows = some_rows(rng, 50, 6, 4)
    values = rows.values(2.0 * rng.normal(size=(50, 4)))
    found = residual(values, rows.lower, rows.upper)
    np.testing.assert_allclose(
        found, residual_by_clipping(values, rows.lower, rows.upper), atol=1e-15
    )
    np.testing.assert_array_equal(np.abs(found), violation(values, rows.lower, rows.upper))


@pytest.mark.parametrize("k", [2, 4, 5])
def test_linear_rows_of_full_rank_take_one_step(k):
    """HardNet's y = raw - A+ r, the limit of small damping with all rows."""
    rng = np.random.default_rng(k)
    rows = some_rows(rng, 30, k, 6, squares=False)
    raw = rng.normal(size=(30, 6))
    found = repaired(raw, rows, rows="all", damping=1e-12, tolerance=1e-7)
    r = residual_by_clipping((rows.linear @ raw[:, :, None])[:, :, 0], rows.lower, rows.upper)
    expected = raw - (np.linalg.pinv(rows.linear) @ r[:, :, None])[:, :, 0]
    assert found.converged.all()
    assert found.iterations.max() == 1
    np.testing.assert_allclose(found.outputs, expected, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize(("kind", "most"), [("all", 100), ("active", 10)])
def test_steps_that_the_published_family_takes(kind, most):
    family = snarenet()
    rows = family.rows(family.instances[:64])
    raw = np.random.default_rng(0).normal(size=(64, 20))
    found = repaired(raw, rows, rows=kind, max_iterations=100)
    assert found.converged.all()
    assert found.violation.max() <= 1e-6
    assert found.iterations.max() <= most
    worst = violation(rows.values(found.outputs), rows.lower, rows.upper).max(axis=1)
    np.testing.assert_array_equal(found.violation, worst)


def test_outputs_that_meet_their_rows_stay():
    family = snarenet()
    x = family.instances[:16]
    shortest = family.shortest(x)
    found = repaired(shortest, family.rows(x))
    np.testing.assert_array_equal(found.outputs, shortest)
    assert not found.iterations.any()


def test_when_steps_end():
    """Repaired instances stay, or go on with the batch; fixed numbers are kept by all."""
    rng = np.random.default_rng(2)
    family = snarenet()
    x = family.instances[:8]
    raw = np.concatenate([family.shortest(x[:4]), rng.normal(size=(4, 20))])
    rows = family.rows(x)
    each, batch = repaired(raw, rows), repaired(raw, rows, stop="batch")
    assert each.iterations[:4].max() == 0
    assert (batch.iterations == each.iterations.max()).all()
    three = repaired(raw, rows, fixed_iterations=3)
    assert (three.iterations == 3).all()
    first = repaired(raw, rows, max_iterations=3, stop="batch")
    np.testing.assert_allclose(three.outputs, first.outputs, atol=1e-12)


def test_instances_that_are_not_finite_leave_the_others_alone():
    rng = np.random.default_rng(3)
    family = snarenet()
    rows = family.rows(family.instances[:4])
    raw = rng.normal(size=(4, 20))
    expected = repaired(raw[[0, 3]], QuadraticRows(
        rows.linear, rows.lower[[0, 3]], rows.upper[[0, 3]], rows.squares
    ))  # fmt: skip
    raw[1, 5], raw[2, 7] = np.nan, np.inf
    with np.errstate(invalid="ignore"):  # what inf - inf raises in the user's own rows
        found = repaired(raw, rows)
    assert found.converged.tolist() == [True, False, False, True]
    assert np.isnan(found.violation[1])
    assert not np.isfinite(found.violation[2])
    np.testing.assert_array_equal(found.outputs[[1, 2]], raw[[1, 2]])
    np.testing.assert_allclose(found.outputs[[0, 3]], expected.outputs, atol=1e-12)


def test_bounds_in_the_wrong_order_are_flagged():
    linear = np.eye(2)[None]
    lower = np.array([[0.0, 0.0], [1.0, 0.0]])
    upper = np.array([[1.0, 1.0], [-1.0, 1.0]])  # the first row of the second instance
    found = repaired(np.array([[3.0, 3.0], [3.0, 3.0]]), QuadraticRows(linear, lower, upper))
    assert found.converged.tolist() == [True, False]
    assert found.violation[1] >= 1.0
    assert found.iterations[1] == 50
    assert np.isfinite(found.outputs).all()


def test_rows_without_full_rank():
    """Rows that repeat, and rows of zeros, which no output can change."""
    linear = np.array([[[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]]] * 3)
    lower = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.5], [1.0, 2.0, -1.0]])
    rows = QuadraticRows(linear, lower, np.full((3, 3), np.inf))
    for kind in ("active", "all"):
        found = repaired(np.zeros((3, 2)), rows, rows=kind, damping=1e-6)
        assert found.converged.tolist() == [True, False, True]
        np.testing.assert_allclose(found.outputs[0], [0.2, 0.4], atol=1e-5)  # the nearest
        assert found.violation[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": "some"}, "rows is 'some'; .*pass one of 'active', 'all'"),
        ({"stop": "never"}, "stop is 'never'; .*pass one of 'instance', 'batch'"),
        ({"backward": "implicit"}, "backward is 'implicit'; .*'unroll', 'last_step'"),
        ({"damping": 0.0}, "damping is 0.0; pass a positive number"),
        ({"tolerance": -1.0}, "tolerance is -1.0; pass a positive number"),
        ({"max_iterations": 0}, "max_iterations is 0; pass a whole number >= 1"),
        ({"fixed_iterations": 0}, "fixed_iterations is 0; pass a whole number >= 1"),
    ],
)
def test_refuses_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        RepairSettings(**arguments)
