"""Sums over episodes against the definition, with episodes cut out of the whole by hand."""

import numpy as np
import pytest

from safe_envs.contract.episode_totals import EpisodeTotals


def test_discounted_sums():
    """Each signal with its own discount, against sums over episodes cut out of the whole."""
    rng = np.random.default_rng(0)
    steps, envs, discounts = 60, 3, np.array([0.9, 1.0, 0.5])
    signals = rng.random((steps, envs, 3))
    ended = rng.random((steps, envs)) < 0.15
    totals = EpisodeTotals(envs, discounts[0], discounts[1:])
    found = [
        one for signal, over in zip(signals, ended, strict=True) for one in totals.add(signal, over)
    ]
    expected = []
    for env in range(envs):
        start = 0
        for end in np.flatnonzero(ended[:, env]) + 1:
            powers = discounts[None] ** np.arange(end - start)[:, None]
            sums = (powers * signals[start:end, env]).sum(0)
            plain = signals[start:end, env].sum(0)
            expected.append((end, env, sums, plain, powers.sum(0), end - start))
            start = end
    expected.sort(key=lambda one: one[:2])
    assert len(found) == len(expected) > 15
    for (row, episode), (_, env, sums, plain, horizons, length) in zip(
        found, expected, strict=True
    ):
        assert row == env
        assert [episode.value, *episode.costs] == pytest.approx(sums)
        assert [episode.plain_value, *episode.plain_costs] == pytest.approx(plain)
        assert episode.horizon == pytest.approx(horizons[1:])
        assert episode.length == length


def test_many_steps_at_once_are_the_same_bit_for_bit():
    """Episodes of one step, episodes across two calls, and rows that a step only reset."""
    rng = np.random.default_rng(1)
    steps, envs, discounts = 200, 4, [0.9, 1.0, 0.7]
    signals = rng.random((steps, envs, 3))
    ended = rng.random((steps, envs)) < [0.02, 0.1, 0.3, 0.9]
    stepped = np.ones_like(ended)
    stepped[1:] = ~(ended[:-1] & (rng.random((steps - 1, envs)) < 0.5))
    ended &= stepped
    one_by_one, at_once = (EpisodeTotals(envs, discounts[0], discounts[1:]) for _ in range(2))
    expected = [
        one for step in zip(signals, ended, stepped, strict=True) for one in one_by_one.add(*step)
    ]
    found = []
    for part in (slice(0, 0), slice(0, 37), slice(37, 38), slice(38, steps)):
        found += at_once.add_steps(signals[part], ended[part], stepped[part])
    assert len(found) == len(expected) > 100
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.row == theirs.row
        for name, value in vars(theirs.episode).items():
            np.testing.assert_array_equal(vars(ours.episode)[name], value, err_msg=name)
    np.testing.assert_array_equal(at_once.so_far(), one_by_one.so_far())


def test_closing_ends_episodes_in_progress():
    totals = EpisodeTotals(3, 0.5, [1.0])
    going_on = np.zeros(3, dtype=np.bool_)
    for _ in range(2):
        assert totals.add(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), going_on) == []
    (row, episode), (last, _) = totals.close(np.array([1, 2]))
    assert (row, last) == (1, 2)
    assert (episode.value, episode.costs.tolist()) == (4.5, [8.0])
    assert (episode.plain_value, episode.length) == (6.0, 2)
    ended = totals.add(np.ones((3, 2)), ~going_on)
    assert [(one.row, one.episode.plain_value, one.episode.length) for one in ended] == [
        (0, 3.0, 3),
        (1, 1.0, 1),
        (2, 1.0, 1),
    ]
