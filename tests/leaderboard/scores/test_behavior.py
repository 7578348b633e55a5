"""Distances between policies, from answers whose distance is known."""

import numpy as np
import pytest
from gymnasium import spaces

from leaderboard.scores.behavior import (
    STATES,
    VISITED,
    answers_of,
    are_near,
    distances,
    weight_distances,
)

BOX = spaces.Box(np.array([-2.0, -1.0], np.float32), np.array([2.0, 1.0], np.float32))
CHOICES = spaces.Discrete(4)


def drawn(seed, width=2):
    return np.random.default_rng(seed).normal(size=(STATES, width)).astype(np.float32)


def distance(one, other, space):
    return float(distances(one[None], other[None], space)[0])


def test_equal_answers_have_distance_zero_and_unrelated_ones_about_the_root_of_two():
    assert distance(drawn(0), drawn(0), BOX) == 0.0
    assert distance(drawn(0), drawn(1), BOX) == pytest.approx(np.sqrt(2.0), abs=0.2)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_distance_is_relative_to_the_variation_of_the_policies(scale):
    one = drawn(0)
    noise = 0.02 * drawn(1)
    expected = 0.02  # rms of the noise over the standard deviation of the answers, both normal
    assert distance(scale * one, scale * (one + noise), BOX) == pytest.approx(expected, rel=0.2)


def test_a_difference_where_the_original_never_goes_does_not_count():
    other = drawn(0)
    other[VISITED:] = drawn(1)[VISITED:]
    assert distance(other, drawn(0), BOX) == 0.0


def test_constant_policies_are_alike_only_if_their_constants_are():
    assert distance(np.ones((STATES, 2)), np.ones((STATES, 2)), BOX) == 0.0
    assert distance(np.ones((STATES, 2)), np.full((STATES, 2), 1.001), BOX) > 1.0


def test_actions_beyond_the_space_and_deviations_leave_no_trace():
    mean = 3.0 * drawn(0)
    outputs = {"mean": mean, "log_std": drawn(2)}
    saturated = {"mean": np.clip(mean, BOX.low, BOX.high) * 1.0, "log_std": 0 * mean}
    far = np.where(np.abs(mean) > BOX.high, 5 * mean, mean)
    told = answers_of(outputs, BOX, stochastic=True)
    np.testing.assert_array_equal(told, answers_of(saturated, BOX, stochastic=True))
    np.testing.assert_array_equal(told, answers_of({"mean": far}, BOX, stochastic=True))
    np.testing.assert_array_equal(told, answers_of({"action": mean}, BOX, stochastic=False))
    assert np.abs(told).max() == 0.5  # of the range


def test_a_deterministic_policy_is_its_action_and_a_stochastic_one_its_mean():
    outputs = {"mean": drawn(0), "log_std": drawn(1), "action": drawn(2)}
    by_mean = answers_of(outputs, BOX, stochastic=True)
    by_action = answers_of(outputs, BOX, stochastic=False)
    np.testing.assert_array_equal(by_mean, answers_of({"mean": drawn(0)}, BOX, stochastic=True))
    np.testing.assert_array_equal(by_action, answers_of({"action": drawn(2)}, BOX, False))


def test_shifted_and_scaled_logits_are_near():
    logits = drawn(0, 4).astype(np.float64)
    told = answers_of({"logits": logits}, CHOICES, stochastic=True)
    shift = np.random.default_rng(1).normal(size=(STATES, 1))
    for other in (logits + shift, 2.0 * logits, 0.1 * logits + shift):
        found = answers_of({"logits": other}, CHOICES, stochastic=True)
        assert distance(found, told, CHOICES) < 1e-6


def test_choices_alone_are_compared_as_they_are():
    actions = np.random.default_rng(0).integers(4, size=(STATES, 1))
    told = answers_of({"action": actions}, CHOICES, stochastic=False)
    np.testing.assert_array_equal(told.argmax(axis=1), actions[:, 0])
    other = actions.copy()
    other[0] = (other[0] + 1) % 4
    changed = answers_of({"action": other}, CHOICES, stochastic=False)
    assert distance(told, told, CHOICES) == 0.0
    assert distance(changed, told, CHOICES) > 0.05  # one of 64 visited states


@pytest.mark.parametrize(
    ("space", "width", "numbers"),
    [(spaces.MultiDiscrete([2, 3]), 5, 2), (spaces.MultiBinary(3), 3, 3)],
)
def test_other_choices(space, width, numbers):
    told = answers_of({"logits": drawn(0, width)}, space, stochastic=True)
    assert told.shape == (STATES, width)
    assert distance(told, told, space) == 0.0
    assert distance(answers_of({"logits": drawn(1, width)}, space, True), told, space) > 0.5
    actions = np.random.default_rng(0).integers(2, size=(STATES, numbers))
    assert answers_of({"action": actions}, space, False).shape == (STATES, width)


def test_nearly_equal_weights_and_similar_behavior_together_count():
    weights = np.random.default_rng(0).normal(size=256)
    noisy = weights + 0.01 * np.random.default_rng(1).normal(size=256)
    unrelated = np.random.default_rng(2).normal(size=256)
    found = weight_distances(weights, np.stack([weights, noisy, unrelated]))
    np.testing.assert_allclose(found, [0.0, 0.01, np.sqrt(2)], atol=0.15)
    assert weight_distances(0 * weights, 0 * weights[None])[0] == np.inf  # says nothing
    behavior = np.array([0.3, 0.3, 0.6, 0.001])
    assert are_near(behavior, np.array([0.01, 1.4, 0.01, np.inf])).tolist() == [
        True, False, False, True,
    ]  # fmt: skip
