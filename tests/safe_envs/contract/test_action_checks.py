"""Checks of actions against NumPy's clip."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from safe_envs.contract.action_checks import action_check, batch_check, checked_batch, checked_box

SPACES = [
    Box(-1.0, 1.0, (6,), np.float32),
    Box(-0.4, 0.4, (40,), np.float32),  # of many numbers
    Box(np.array([-1.0, 0.0]), np.array([0.5, 2.0]), dtype=np.float64),  # with two ranges
    Box(-2.0, 2.0, (2, 2), np.float32),
    Box(-2.0, 2.0, (), np.float32),
    Box(-np.inf, np.inf, (3,), np.float64),
]
each_space = pytest.mark.parametrize("space", SPACES, ids=str)


@each_space
@pytest.mark.parametrize("scale", [0.1, 3.0, 1e300])
@pytest.mark.parametrize("type_of_numbers", [np.float32, np.float64, list])
def test_numbers_are_clipped(space, scale, type_of_numbers):
    with np.errstate(over="ignore"):  # 1e300 is infinite in 32 bits
        drawn = np.random.default_rng(0).uniform(-scale, scale, (5, *space.shape))
        given = drawn.tolist() if type_of_numbers is list else drawn.astype(type_of_numbers)
    expected = np.clip(np.asarray(given, dtype=np.float64), space.low, space.high)
    checks = [lambda each: checked_batch(each, space, 5), batch_check(space, 5)]
    singles = [lambda each: checked_box(each, space), action_check(space)]
    results = [check(given) for check in checks]
    results += [np.stack([check(each) for each in given]) for check in singles]
    for result in results:
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, expected)


@each_space
@pytest.mark.parametrize("others", [0.0, np.inf, -np.inf])
def test_nan_is_refused_wherever_it_is(space, others):
    check, size = action_check(space), max(1, int(np.prod(space.shape)))
    for place in range(size):
        action = np.full(size, others)
        action[place] = np.nan
        with pytest.raises(ValueError, match="contains NaN"):
            check(action.reshape(space.shape))
        rows = np.stack([np.zeros(size), action]).reshape(2, *space.shape)
        with pytest.raises(ValueError, match="contains NaN"):
            batch_check(space, 2)(rows)
    check(np.full(space.shape, others))


@each_space
def test_what_is_no_array_of_this_shape_is_refused(space):
    for check in (action_check(space), batch_check(space, 2)):
        with pytest.raises(ValueError, match=r"action has shape \(7, 7\)"):
            check(np.zeros((7, 7)))
        with pytest.raises(ValueError, match="entries that are not numbers"):
            check("up")


def test_the_action_stays_the_callers():
    action = np.zeros(6)
    checked = action_check(SPACES[0])(action)
    checked += 1.0
    np.testing.assert_array_equal(action, np.zeros(6))


def test_whole_numbers():
    assert action_check(Discrete(3, start=1))(np.int64(3)) == 3
    assert batch_check(Discrete(3), 2)([0, 2]).tolist() == [0, 2]
    with pytest.raises(ValueError, match="pass one whole number from 0 to 2"):
        batch_check(Discrete(3), 2)([0, 3])
    for check in (action_check, lambda space: batch_check(space, 2)):
        with pytest.raises(TypeError, match="use a Discrete or Box action space"):
            check(MultiDiscrete([2, 2]))
