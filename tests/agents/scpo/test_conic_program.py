import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from agents.scpo import conic_program
from agents.scpo.conic_program import (
    FeasibleCombination,
    ProjectionStatus,
    constraint_bounds,
    project,
)
from baselines.benchmarks.projection import (
    Instance,
    ParametrizedProjection,
    printed_form,
    random_instance,
)

AGREEMENT = 1e-6  # of objectives, relative to the squared length of the raw step
COUNTS = {(4, 1): 100, (8, 64): 100, (16, 64): 100, (16, 2500): 5}
SMALL = [size for size in COUNTS if size[1] < 2500]


@lru_cache
def projected(size):
    """Return seeded instances of a size, (n, k), and their projections."""
    instances = [random_instance(*size, seed) for seed in range(COUNTS[size])]
    return [(instance, project(*instance)) for instance in instances]


@lru_cache
def oracle(size):
    return ParametrizedProjection(*size)


def solved_by_cvxpy(instance):
    form = oracle(instance.values.shape)
    form.set(instance)
    return form.solve()


def printed_bounds(c, instance):
    """Return the left side of (11) as it is printed."""
    gram, values, current, smoothness = instance
    bend = c @ gram @ c + np.abs(c) @ np.diag(gram)
    return (1 - c.sum()) * current + values.T @ c + smoothness / 2 * bend


def assert_optimal(found, instance, reference, tolerance=AGREEMENT):
    assert constraint_bounds(found.coefficients, *instance).max() <= 0
    assert instance.objective(found.coefficients) == pytest.approx(
        instance.objective(reference), abs=tolerance
    )


def combined(instance, matrix):
    """Return the instance with the columns D M, along which g is linear between the old ones."""
    differences = matrix.T @ (instance.values - instance.current)
    gram = matrix.T @ instance.gram @ matrix
    return instance._replace(gram=gram, values=instance.current + differences)


def with_current(instance, current):
    """Return the instance with other values at theta_t and as much change from there."""
    values = instance.values - instance.current + current
    return instance._replace(values=values, current=current)


@pytest.mark.parametrize("size", COUNTS)
def test_objective_is_that_of_cvxpy(size):
    """The printed form takes cvxpy longest, so that most problems are set in its other form."""
    for number, (instance, found) in enumerate(projected(size)):
        assert found.status is ProjectionStatus.OPTIMAL
        assert found.solved
        reference = printed_form(instance) if number < 30 else solved_by_cvxpy(instance)
        assert_optimal(found, instance, reference)


@pytest.mark.parametrize("size", COUNTS)
def test_constraints_hold_exactly(size):
    for instance, found in projected(size):
        assert constraint_bounds(found.coefficients, *instance).max() <= 0
        assert printed_bounds(found.coefficients, instance).max() <= 1e-12


@pytest.mark.parametrize("size", COUNTS)
def test_result_is_a_descent_direction(size):
    """Equation 13, <raw, delta> >= |delta|^2, and delta is not zero."""
    for instance, found in projected(size):
        delta = instance.gram @ found.coefficients
        square = found.coefficients @ delta
        assert square > 0
        assert delta[-1] >= square * (1 - 1e-6)


@pytest.mark.parametrize("size", COUNTS)
def test_shorter_results_are_feasible(size):
    """Lemma 1."""
    for instance, found in projected(size)[:20]:
        for fraction in np.linspace(0, 1, 9):
            assert constraint_bounds(fraction * found.coefficients, *instance).max() <= 1e-15


def test_bounds_are_those_of_equation_11():
    for (instance, _), rng in zip(projected((16, 64))[:5], range(5), strict=True):
        c = np.random.default_rng(rng).normal(size=16)
        found = constraint_bounds(c, *instance)
        np.testing.assert_allclose(found, printed_bounds(c, instance), rtol=1e-12, atol=1e-13)


def test_bounds_hold_for_a_quadratic_constraint():
    """g(theta) = -1 + b'theta + theta' H theta / 2 with L = |H|, at combinations of columns."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    h, b, columns = root + root.T, rng.normal(size=6), rng.normal(size=(6, 4))

    def g(theta):
        return -1 + b @ theta + theta @ h @ theta / 2

    values = np.array([[g(column)] for column in columns.T])
    smoothness = np.array([np.abs(np.linalg.eigvalsh(h)).max()])
    for _ in range(50):
        c = rng.normal(size=4)
        bounds = constraint_bounds(c, columns.T @ columns, values, np.array([-1.0]), smoothness)
        assert g(columns @ c) <= bounds[0]


@pytest.mark.parametrize("size", SMALL)
def test_feasible_raw_step_is_returned_as_it_is(size):
    instance = random_instance(*size, 0)
    slack = constraint_bounds(np.eye(size[0])[-1], *instance).max()
    values = instance.values - slack * 1.001
    found = project(instance.gram, values, instance.current, instance.smoothness)
    np.testing.assert_array_equal(found.coefficients, np.eye(size[0])[-1])
    assert found[1:] == (False, 0, ProjectionStatus.RAW)


@pytest.mark.parametrize("smoothness", [0.0, 1e-8, 1.0, 50.0, 1e6])
@pytest.mark.parametrize("current", [-1.0, -1e-3, -1e-9])
def test_one_column_and_one_constraint(current, smoothness):
    """L s / 2 c^2 + (g_1 - g_t + L s / 2) c + g_t = 0 for c > 0."""
    square, value = 0.25, 2.0
    half = smoothness * square / 2
    b = value - current + half
    root = -2 * current / (b + np.sqrt(b * b - 4 * half * current))
    arrays = (np.array(a) for a in ([[square]], [[value]], [current], [smoothness]))
    found = project(*arrays)
    assert found.coefficients == pytest.approx([root], rel=1e-12)


def test_rows_that_are_left_out_do_not_matter(monkeypatch):
    few = projected((16, 64))[:20]
    monkeypatch.setattr(conic_program, "VIOLATED_ROWS", 64)
    for instance, found in few:
        everything = project(*instance)
        assert everything.rounds == 1
        assert_optimal(found, instance, everything.coefficients, 1e-8)


def test_rows_are_added_until_none_is_violated(monkeypatch):
    monkeypatch.setattr(conic_program, "VIOLATED_ROWS", 1)
    monkeypatch.setattr(conic_program, "TIGHT_ROWS", 1)
    rounds = []
    for instance, found in projected((16, 64))[:20]:
        again = project(*instance)
        rounds.append(again.rounds)
        assert_optimal(again, instance, found.coefficients, 1e-8)
    assert max(rounds) > 1


def test_same_input_gives_the_same_result():
    for instance, found in projected((16, 64))[:5]:
        np.testing.assert_array_equal(project(*instance).coefficients, found.coefficients)


@pytest.mark.parametrize("factor", [1e-8, 1e4])
def test_units_do_not_matter(factor):
    for instance, found in projected((8, 64))[:10]:
        gram, values, current, smoothness = instance
        longer = project(gram * factor**2, values, current, smoothness / factor**2)
        larger = project(gram, values * factor, current * factor, smoothness * factor)
        for other in (longer, larger):
            assert instance.objective(other.coefficients) == pytest.approx(
                instance.objective(found.coefficients), abs=1e-8
            )


DEPENDENT = {
    "twice the same": (0, 1, 1.0),
    "opposite": (0, 1, -1.0),
    "the raw step twice": (0, 3, 1.0),
}


@pytest.mark.parametrize("smoothness", [1.0, 1e-6, 0.0])
@pytest.mark.parametrize("kind", DEPENDENT)
def test_a_copy_of_a_column_changes_nothing(kind, smoothness):
    copy, source, sign = DEPENDENT[kind]
    for seed in range(5):
        instance = random_instance(4, 3, seed)
        instance = instance._replace(smoothness=instance.smoothness * smoothness)
        alone = combined(instance, np.eye(4)[:, 1:])  # without the column that is to be a copy
        matrix = np.eye(4)
        matrix[:, copy] = sign * matrix[:, source]
        more = combined(instance, matrix)
        assert np.linalg.matrix_rank(more.gram) == 3
        found, reference = project(*more), project(*alone).coefficients
        assert constraint_bounds(found.coefficients, *more).max() <= 0
        assert more.objective(found.coefficients) == pytest.approx(
            alone.objective(reference), abs=AGREEMENT
        )


def test_columns_without_length_are_not_used():
    instance = random_instance(4, 3, 0)
    more = combined(instance, np.eye(4)[:, [0, 1, 2, 2, 3]])
    more.gram[2], more.gram[:, 2] = 0, 0
    more.values[2] = more.current - 1  # a column that would help, if it were one
    found = project(*more)
    assert found.coefficients[2] == 0
    assert_optimal(found, more, np.insert(project(*instance).coefficients, 2, 0))


@pytest.mark.parametrize("length", [1e-6, 1e-3, 1e3])
@pytest.mark.parametrize("size", SMALL)
def test_columns_of_other_lengths(size, length):
    scales = np.full(size[0], length)
    scales[-1] = 1.0
    for seed in range(4):
        instance = combined(random_instance(*size, seed), np.diag(scales))
        assert_optimal(project(*instance), instance, solved_by_cvxpy(instance))


@pytest.mark.parametrize("smoothness", [0.0, 1e-8, 1e2, 1e6])
@pytest.mark.parametrize("size", SMALL)
def test_extreme_smoothness(size, smoothness):
    for seed in range(4):
        instance = random_instance(*size, seed)
        instance = instance._replace(smoothness=np.full(size[1], smoothness))
        assert_optimal(project(*instance), instance, solved_by_cvxpy(instance))


@pytest.mark.parametrize("size", SMALL)
def test_small_results_are_exact_as_well(size):
    """With L -> infinity the solution is 1 / L times that of a fixed problem, nearly."""
    for instance, _ in projected(size)[:4]:
        steep = instance._replace(smoothness=instance.smoothness * 1e7)
        steeper = instance._replace(smoothness=instance.smoothness * 1e8)
        coarse, fine = project(*steep).coefficients, project(*steeper).coefficients
        gain, smaller = (1 - instance.objective(c) for c in (coarse, fine))
        assert 0 < smaller < 1e-5
        assert gain / smaller == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize("smoothness", [1.0, 1e-6])
@pytest.mark.parametrize("size", SMALL)
def test_constraints_without_slack(size, smoothness):
    useful = 0
    for seed in range(6):
        instance = random_instance(*size, seed)
        instance = instance._replace(smoothness=instance.smoothness * smoothness)
        current = instance.current.copy()
        current[np.argmax(instance.values[-1])] = 0.0
        instance = with_current(instance, current)
        found = project(*instance)
        useful += found.status is ProjectionStatus.OPTIMAL
        assert_optimal(found, instance, solved_by_cvxpy(instance))
    assert useful > 0


def test_no_slack_at_all():
    """g = 0 everywhere and L = 0: the projection onto a cone, {x : x_2 >= x_1}."""
    arrays = ([[1.0, 0.0], [0.0, 1.0]], [[-1.0], [1.0]], [0.0], [0.0])
    found = project(*map(np.array, arrays))
    assert found.coefficients == pytest.approx([0.5, 0.5], abs=1e-7)
    assert constraint_bounds(found.coefficients, *map(np.array, arrays)).max() <= 0


def test_zero_where_nothing_else_is_feasible():
    """One row wants c <= 0, the other c >= 0."""
    arrays = ([[1.0]], [[1.0, -1.0]], [0.0, 0.0], [1.0, 1.0])
    found = project(*map(np.array, arrays))
    np.testing.assert_array_equal(found.coefficients, [0.0])
    assert found.status is ProjectionStatus.NULL


def test_zero_without_a_raw_step():
    instance = random_instance(4, 3, 0)
    instance.gram[-1], instance.gram[:, -1] = 0, 0
    found = project(*instance)
    np.testing.assert_array_equal(found.coefficients, np.zeros(4))
    assert found[1:] == (False, 0, ProjectionStatus.NULL)


def test_a_failing_solver_leaves_the_longest_feasible_multiple(monkeypatch):
    monkeypatch.setattr(conic_program, "_solve_rows", lambda *_: None)
    for instance, optimum in projected((8, 64))[:10]:
        found = project(*instance)
        assert found.status is ProjectionStatus.INEXACT
        assert found.rounds > 0
        assert not found.coefficients[:-1].any()
        assert constraint_bounds(found.coefficients, *instance).max() <= 0
        assert constraint_bounds(found.coefficients * (1 + 1e-12), *instance).max() > 0
        gains = [1 - instance.objective(p.coefficients) for p in (found, optimum)]
        assert gains[0] <= gains[1] + 1e-9


ARRAYS = Instance(np.eye(2), np.full((2, 3), 1.0), np.full(3, -1.0), np.ones(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones((3, 2))}, "values, .* have the shapes .*(3, 2).*; pass (n, n), (n, k)"),
        ({"gram": np.ones((2, 3))}, "gram, .* have the shapes ((2, 3)"),
        ({"smoothness": np.ones(2)}, "and smoothness have the shapes"),
        ({"gram": np.full((2, 2), np.inf)}, "gram has the entry inf; pass finite numbers"),
        ({"values": np.full((2, 3), np.nan)}, "values has the entry nan; .* leave out the columns"),
        ({"current": np.array([-1, 0.5, -2])}, "current[1] is 0.5; .* pass values <= 0"),
        ({"current": np.array([-1, -1, np.nan])}, "current[2] is nan; .* pass values <= 0"),
        ({"smoothness": np.array([1, 1, -2.0])}, "smoothness[2] is -2.0; pass bounds .* >= 0"),
    ],
)
def test_wrong_inputs_are_refused(change, message):
    pattern = ".*".join(re.escape(part) for part in message.split(".*"))
    with pytest.raises(ValueError, match=pattern):
        project(*ARRAYS._replace(**change))


def test_projection_unpacks_in_a_fixed_order():
    assert FeasibleCombination._fields == ("coefficients", "solved", "rounds", "status")


def test_agents_do_not_need_cvxpy():
    folder = Path(conic_program.__file__).parents[1]
    found = [f for f in folder.rglob("*.py") if re.search(r"(import|from) cvxpy", f.read_text())]
    assert found == []
