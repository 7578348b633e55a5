"""Advantage estimates against the definition, summed term by term."""

import numpy as np
import pytest

from agents.advantage import generalized_advantages

STEPS, ENVS = 23, 4
DISCOUNTS = np.array([0.97, 1.0, 0.8])
LAMBDAS = np.array([0.95, 1.0, 0.3])


@pytest.fixture
def rollout():
    """Random signals and values in which episodes terminate, are cut off, and last one step."""
    rng = np.random.default_rng(3)
    signals, values, next_values = rng.normal(size=(3, STEPS, ENVS, len(DISCOUNTS)))
    ended = rng.random((STEPS, ENVS)) < 0.25
    ended[5:7, 0] = True
    ended[-1, 1] = True
    terminated = ended & (rng.random((STEPS, ENVS)) < 0.5)
    next_values[terminated] = 0.0
    # Within an episode the next state's value is the value at the next step.
    going_on = ~ended[:-1]
    next_values[:-1][going_on] = values[1:][going_on]
    return signals, values, next_values, ended


def last_step_of_episode(ended, t, env):
    while t < STEPS - 1 and not ended[t, env]:
        t += 1
    return t


def test_equals_the_sum_of_temporal_differences(rollout):
    signals, values, next_values, ended = rollout
    found = generalized_advantages(*rollout, DISCOUNTS, LAMBDAS)
    for t, env, i in np.ndindex(STEPS, ENVS, len(DISCOUNTS)):
        expected = 0.0
        for later in range(t, last_step_of_episode(ended, t, env) + 1):
            at = (later, env, i)
            difference = signals[at] + DISCOUNTS[i] * next_values[at] - values[at]
            expected += (DISCOUNTS[i] * LAMBDAS[i]) ** (later - t) * difference
        assert found[t, env, i] == pytest.approx(expected, abs=1e-12)


def test_lambda_one_is_the_bootstrapped_return_minus_the_value(rollout):
    signals, values, next_values, ended = rollout
    found = generalized_advantages(*rollout, DISCOUNTS, np.ones(3))
    for t, env, i in np.ndindex(STEPS, ENVS, len(DISCOUNTS)):
        last = last_step_of_episode(ended, t, env)
        powers = DISCOUNTS[i] ** np.arange(last - t + 2)
        rewards = [*signals[t : last + 1, env, i], next_values[last, env, i]]
        assert found[t, env, i] == pytest.approx(powers @ rewards - values[t, env, i], abs=1e-12)


def test_lambda_zero_is_one_temporal_difference(rollout):
    signals, values, next_values, _ = rollout
    found = generalized_advantages(*rollout, DISCOUNTS, np.zeros(3))
    np.testing.assert_allclose(found, signals + DISCOUNTS * next_values - values, atol=1e-15)
