import numpy as np
import pytest

from safe_envs.action_constraints import violation
from safe_envs.control.quadratic_families import NUM_INSTANCES, dc3, snarenet

FAMILIES = {
    "dc3": lambda: dc3(),
    "dc3 sine": lambda: dc3(sine=True),
    "dc3 small": lambda: dc3(10, 4, 6, seed=3),
    "dc3 many rows": lambda: dc3(30, 10, 90, seed=5),
    "snarenet": lambda: snarenet(),
    "snarenet half": lambda: snarenet(quadratic=5),
    "snarenet linear": lambda: snarenet(quadratic=0, seed=4),
    "snarenet published size": lambda: snarenet(100, 50, 50),
}


@pytest.fixture(scope="module", params=FAMILIES, ids=list(FAMILIES))
def family(request):
    return FAMILIES[request.param]()


def by_loops(family, x, y):
    """Largest violation, row after row."""
    worst = 0.0
    for row, bound, place in zip(family.inequalities, family.bounds, range(10**6), strict=False):
        value = sum(g * one for g, one in zip(row, y, strict=True))
        if family.squares is not None:
            value += sum(s * one * one for s, one in zip(family.squares[place], y, strict=True))
        worst = max(worst, value - bound)
    for row, wanted in zip(family.equalities, x, strict=True):
        worst = max(worst, abs(sum(a * one for a, one in zip(row, y, strict=True)) - wanted))
    return worst


def test_shortest_solution_of_every_instance_is_feasible(family):
    x = family.instances
    y = family.shortest(x)
    rows = family.rows(x)
    assert violation(rows.values(y), rows.lower, rows.upper).max() < 1e-12
    assert by_loops(family, x[7], y[7]) < 1e-12


def test_rows_are_those_written_out(family):
    rng = np.random.default_rng(0)
    x, y = family.instances[:2], rng.normal(size=(2, family.sizes[0]))
    rows = family.rows(x)
    worst = violation(rows.values(y), rows.lower, rows.upper).max(axis=1)
    expected = [by_loops(family, *pair) for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(worst, expected, rtol=1e-12)


def test_objective_and_its_gradient(family):
    rng = np.random.default_rng(1)
    y = rng.normal(size=(3, family.sizes[0]))
    bent = np.sin(y) if family.sine else y
    for one, value, other in zip(y, family.objective(y), bent, strict=True):
        square = 0.5 * one @ np.diag(family.curvature) @ one
        assert value == pytest.approx(square + family.slope @ other, rel=1e-12)
    step = 1e-6 * np.eye(len(y[0]))
    for one, gradient in zip(y, family.gradient(y), strict=True):
        change = (family.objective(one + step) - family.objective(one - step)) / 2e-6
        np.testing.assert_allclose(gradient, change, atol=1e-7)


def test_sizes_shapes_and_parts(family):
    n, m, k = family.sizes
    assert family.equalities.shape == (m, n)
    assert family.inequalities.shape == (k, n)
    assert (family.curvature.shape, family.slope.shape, family.bounds.shape) == ((n,), (n,), (k,))
    assert np.linalg.matrix_rank(family.equalities) == m
    parts = family.parts
    assert [len(parts[p]) for p in ("training", "validation", "testing")] == [8334, 833, 833]
    np.testing.assert_array_equal(np.concatenate(list(parts.values())), family.instances)
    assert family.instances.shape == (NUM_INSTANCES, m)


def test_null_space(family):
    n, m, _ = family.sizes
    z = family.null_space
    assert z.shape == (n, n - m)
    np.testing.assert_allclose(family.equalities @ z, 0.0, atol=1e-12)
    np.testing.assert_allclose(z.T @ z, np.eye(n - m), atol=1e-12)


ARRAYS = ("curvature", "slope", "equalities", "inequalities", "bounds", "instances")


@pytest.mark.parametrize("make", [dc3, snarenet])
def test_seeds_reproduce(make):
    one, same, other = make(12, 5, 4, seed=8), make(12, 5, 4, seed=8), make(12, 5, 4, seed=9)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))


def test_dc3_draws_in_the_published_order():
    """The data of DC3 (`datasets/simple/make_dataset.py`), written out with the global generator.

    Only here: nothing else of the project uses it.
    """
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(17)  # noqa: NPY002
        q = np.diag(np.random.random(100))  # noqa: NPY002
        p = np.random.random(100)  # noqa: NPY002
        a = np.random.normal(loc=0, scale=1.0, size=(50, 100))  # noqa: NPY002
        x = np.random.uniform(-1, 1, size=(10_000, 50))  # noqa: NPY002
        g = np.random.normal(loc=0, scale=1.0, size=(50, 100))  # noqa: NPY002
    finally:
        np.random.set_state(state)  # noqa: NPY002
    h = np.sum(np.abs(g @ np.linalg.pinv(a)), axis=1)
    family = dc3()
    np.testing.assert_array_equal(np.diag(family.curvature), q)
    np.testing.assert_array_equal(family.slope, p)
    np.testing.assert_array_equal(family.equalities, a)
    np.testing.assert_array_equal(family.instances, x)
    np.testing.assert_array_equal(family.inequalities, g)
    np.testing.assert_allclose(family.bounds, h, rtol=1e-12)
    assert family.squares is None


def test_ranges_of_snarenets_draws():
    family = snarenet(40, 20, 30, quadratic=10)
    assert family.curvature.min() >= 0.0
    assert 0.4 < family.curvature.max() <= 0.5
    for drawn in (family.slope, family.equalities, family.inequalities):
        assert -1.0 <= drawn.min() < -0.8
        assert 0.8 < drawn.max() <= 1.0
    assert np.abs(family.instances).max() <= 0.5
    assert 0.09 < family.squares[:10].max() <= 0.1
    assert family.squares.min() >= 0.0
    assert not family.squares[10:].any()


def test_refuses_sizes_that_are_no_counts():
    with pytest.raises(ValueError, match="m is 0; pass a whole number >= 1"):
        dc3(m=0)
    with pytest.raises(ValueError, match="n is 2.5; pass a whole number >= 1"):
        snarenet(n=2.5)
