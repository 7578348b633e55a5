"""The bank of measured parameters and the first guess of the smoothness, against plain loops."""

import numpy as np
import pytest
import torch

from agents.scpo.parameter_bank import Columns, Measured, ParameterBank, largest_slopes


def point(rng, dtype=torch.float64):
    return Measured(torch.tensor(rng.normal(size=6), dtype=dtype), rng.normal(size=4))


def filled_bank(size, count, dtype=torch.float64):
    rng = np.random.default_rng(0)
    bank, points = ParameterBank(size), [point(rng, dtype) for _ in range(count)]
    for one in points:
        bank.add(*one)
    return bank, points


def slopes_by_loops(points, values, metric):
    """Return max |g_j(a) - g_j(b)| / |a - b|_P over pairs, entry by entry."""
    slopes = np.zeros(values.shape[1])
    for i in range(len(points)):
        for other in range(i):
            between = points[i] - points[other]
            distance = np.sqrt(np.sum(metric * between * between))
            if distance > 0:
                for j in range(values.shape[1]):
                    rise = abs(values[i, j] - values[other, j]) / distance
                    slopes[j] = max(slopes[j], rise)
    return slopes


def test_the_slopes_are_those_of_all_pairs():
    rng = np.random.default_rng(1)
    metric = rng.uniform(0.5, 2.0, size=6)
    steps, values, current = rng.normal(size=(5, 6)), rng.normal(size=(5, 4)), rng.normal(size=4)
    gram = (steps * metric) @ steps.T
    found = largest_slopes(Columns(torch.from_numpy(steps), values, gram), current)
    points = np.vstack([steps, np.zeros(6)])
    expected = slopes_by_loops(points, np.vstack([values, current]), metric)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_slope_of_a_linear_function_is_its_gradient():
    gradient = np.array([3.0, -4.0])
    steps = np.array([[0.3, -0.4], [0.1, 0.0]])
    columns = Columns(torch.from_numpy(steps), (steps @ gradient)[:, None], steps @ steps.T)
    assert largest_slopes(columns, np.zeros(1)) == pytest.approx(5.0)


def test_equal_points_have_no_slope():
    steps = np.array([[1.0, 0.0], [1.0, 0.0]])
    columns = Columns(torch.from_numpy(steps), np.array([[2.0], [2.0]]), steps @ steps.T)
    assert largest_slopes(columns, np.zeros(1)) == pytest.approx(2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_are_the_last_points_seen_from_the_current_one(dtype):
    bank, points = filled_bank(3, 5, dtype)
    rng = np.random.default_rng(2)
    theta, extra = point(rng, dtype).theta, [point(rng, dtype)]
    metric = torch.tensor(rng.uniform(0.5, 2.0, size=6))
    columns = bank.columns(theta, metric, extra)
    expected = [one.theta.double() - theta.double() for one in [*extra, *points[-3:]]]
    assert torch.equal(columns.steps, torch.stack(expected))
    np.testing.assert_array_equal(columns.values, [one.value for one in [*extra, *points[-3:]]])
    for i, first in enumerate(expected):
        for j, second in enumerate(expected):
            assert columns.gram[i, j] == pytest.approx(float((metric * first) @ second), abs=1e-12)


def test_moving_on_keeps_every_point_exactly():
    bank, points = filled_bank(4, 4)
    metric, theta = torch.ones(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    for step in torch.randn((50, 6), generator=torch.Generator().manual_seed(0)).double():
        theta = theta + step
        columns = bank.columns(theta, metric, [])
        for kept, one in zip(columns.steps, points, strict=True):
            assert torch.equal(kept, one.theta - theta)


def test_a_combination_is_the_sum_of_the_steps():
    bank, points = filled_bank(3, 3)
    zero = torch.zeros(6, dtype=torch.float64)
    columns = bank.columns(zero, torch.ones(6, dtype=torch.float64), [])
    expected = 2.0 * points[0].theta - points[1].theta + 0.5 * points[2].theta
    found = columns.combined(np.array([2.0, -1.0, 0.5]))
    torch.testing.assert_close(found, expected)


def test_columns_that_say_nothing_are_dropped():
    bank, points = filled_bank(5, 2)
    unsafe = Measured(points[0].theta + 1.0, np.array([0.0, np.inf, 0.0, 0.0]))
    metric = torch.ones(6, dtype=torch.float64)
    columns = bank.columns(points[0].theta, metric, [unsafe])
    assert torch.equal(columns.steps, (points[1].theta - points[0].theta)[None])
    assert columns.gram.shape == (1, 1)


def test_a_point_that_was_just_added_is_not_added_again():
    bank, points = filled_bank(5, 2)
    bank.add(points[1].theta.clone(), points[1].value)
    assert len(bank.state_dict()) == 2
    bank.add(*points[0])
    assert len(bank.state_dict()) == 3


def test_the_bank_keeps_copies():
    bank, theta, value = ParameterBank(2), torch.zeros(6), np.zeros(4)
    bank.add(theta, value)
    theta += 1.0
    value += 1.0
    kept = bank.state_dict()[0]
    assert not kept["theta"].any()
    assert not kept["value"].any()


def test_a_saved_bank_gives_the_same_columns():
    bank, points = filled_bank(3, 5)
    other = ParameterBank(3)
    other.load_state_dict(bank.state_dict())
    metric = torch.ones(6, dtype=torch.float64)
    one, two = (b.columns(points[0].theta, metric, []) for b in (bank, other))
    assert torch.equal(one.steps, two.steps)
    np.testing.assert_array_equal(one.values, two.values)


@pytest.mark.parametrize("size", [0, -1, float("nan")])
def test_a_bank_of_nothing_is_refused(size):
    with pytest.raises(ValueError, match="bank_size"):
        ParameterBank(size)
