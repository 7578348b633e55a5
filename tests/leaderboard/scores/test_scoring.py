"""Row statistics against hand-computed numbers, slow loops, SciPy, and known distributions."""

import dataclasses
import math
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from agents.cost_tails import cost_tails
from baselines.measures.statistics import interquartile_mean
from leaderboard.boards.board import Board
from leaderboard.scores.score_json import (
    draws_from_bytes,
    draws_to_bytes,
    statistics_from_json,
    statistics_to_json,
)
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.scores.scoring import RESAMPLES, resampled_episodes, score_row, wilson_interval
from safe_envs.contract.cost_signal import ConstraintSpec


def board(*limits, scales=None, random_return=10.0, reference_return=30.0):
    constraints = tuple(ConstraintSpec(f"cost {i}", limit) for i, limit in enumerate(limits))
    return Board(
        env="Safe/Trial-v0",
        title="Trial",
        version=1,
        constraints=constraints,
        reward_discount=1.0,
        longest_episode=100,
        random_return=random_return,
        reference_return=reference_return,
        reference="",
        source="",
        cost_scales=scales or tuple(limit or 1.0 for limit in limits),
    )


def episodes(returns, costs):
    """Costs of shape (k, n) are one constraint's."""
    returns, costs = np.asarray(returns, dtype=float), np.asarray(costs, dtype=float)
    costs = costs[:, :, None] if costs.ndim == 2 else costs
    lengths = np.full(returns.shape, 7)
    return ScoredEpisodes(returns, costs, 2.0 * returns, 3.0 * costs, lengths)


def random_episodes(seed, policies=5, count=20, constraints=1):
    rng = np.random.default_rng(seed)
    returns = rng.normal(20.0, 5.0, size=(policies, count)) + rng.normal(size=(policies, 1))
    return episodes(returns, rng.gamma(2.0, 5.0, size=(policies, count, constraints)))


def test_values_by_hand():
    returns = [[10.0, 14.0], [20.0, 24.0], [30.0, 34.0], [20.0, 20.0], [90.0, 98.0]]
    costs = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]]
    found = score_row(board(4.0), episodes(returns, costs)).statistics
    assert (found.policies, found.episodes) == (5, 2)
    assert found.seed_returns == (12.0, 22.0, 32.0, 20.0, 94.0)
    assert found.mean_return.value == 36.0
    assert found.plain_mean_return == 72.0
    assert found.mean_length == 7.0
    assert found.score.value == pytest.approx(((22 + 32 + 20) / 3 - 10) / 20, abs=1e-15)
    (cost,) = found.costs
    assert (cost.mean.value, cost.worst, cost.plain_mean) == (4.5, 9.0, 13.5)
    assert cost.p90.value == pytest.approx(8.1)
    assert cost.p95.value == pytest.approx(8.55)
    assert cost.cvar.value == 9.0
    assert cost.violation_probability.value == 0.5
    assert cost.excess == pytest.approx(0.125)
    assert cost.excess_p95 == pytest.approx(4.55 / 4.0)
    assert cost.seed_means == (0.5, 2.5, 4.5, 6.5, 8.5)
    assert cost.quantiles[0] == 0.0
    assert cost.quantiles[50] == 4.5
    assert cost.quantiles[100] == 9.0


def test_intervals_equal_those_of_a_loop_over_resamples():
    data, trial = random_episodes(3), board(12.0)
    policies, count = data.returns.shape
    scores, means, tails = [], [], []
    for row in resampled_episodes(policies, count)[1:]:
        chosen = [(int(j), int(i)) for j, i in zip(row // count, row % count, strict=True)]
        costs = np.array([data.costs[j, i, 0] for j, i in chosen])
        returns = np.array([data.returns[j, i] for j, i in chosen])
        groups = [returns[p * count : (p + 1) * count].mean() for p in range(policies)]
        scores.append(trial.normalized(interquartile_mean(np.array(groups))))
        means.append(costs.mean())
        tails.append(cost_tails(costs, cvar_level=0.95))
    row = score_row(trial, data)
    (cost,) = row.statistics.costs
    for interval, draws in [
        (row.statistics.score, scores),
        (cost.mean, means),
        (cost.p90, [tail.p90 for tail in tails]),
        (cost.p95, [tail.p95 for tail in tails]),
        (cost.cvar, [tail.cvar for tail in tails]),
    ]:
        expected = np.percentile(draws, [2.5, 97.5])
        np.testing.assert_allclose([interval.low, interval.high], expected, rtol=1e-12)
    assert cost.upper_bound == pytest.approx(np.percentile(means, 95))
    assert cost.p95_upper_bound == pytest.approx(np.percentile([t.p95 for t in tails], 95))
    np.testing.assert_allclose(row.draws.score, scores, rtol=1e-12)
    np.testing.assert_allclose(row.draws.excess, (np.array(means) - 12.0) / 12.0, atol=1e-12)
    p95 = np.array([tail.p95 for tail in tails])
    np.testing.assert_allclose(row.draws.excess_p95, (p95 - 12.0) / 12.0, atol=1e-12)


def test_resamples_draw_whole_policies_then_their_episodes():
    indices = resampled_episodes(4, 30)
    np.testing.assert_array_equal(indices[0], np.arange(120))
    groups = indices[1:].reshape(RESAMPLES, 4, 30)
    owners = groups // 30
    assert (owners == owners[:, :, :1]).all()
    assert abs(np.bincount(owners[:, :, 0].ravel()) / (4 * RESAMPLES) - 0.25).max() < 0.02
    within = np.bincount((groups % 30).ravel()) / groups.size
    assert abs(within - 1 / 30).max() < 0.001


def test_one_policy_gives_the_plain_bootstrap():
    data = random_episodes(5, policies=1, count=60)
    row = score_row(board(12.0), data)
    for values, ours in [
        (data.returns[0], row.statistics.mean_return),
        (data.costs[0, :, 0], row.statistics.costs[0].mean),
    ]:
        theirs = stats.bootstrap(
            (values,), np.mean, n_resamples=50_000, method="percentile", rng=0
        ).confidence_interval
        tolerance = 0.1 * (theirs.high - theirs.low)
        assert ours.low == pytest.approx(theirs.low, abs=tolerance)
        assert ours.high == pytest.approx(theirs.high, abs=tolerance)
    assert row.statistics.seed_returns == pytest.approx((data.returns.mean(),))


def test_spread_of_the_draws_is_that_of_two_levels():
    # Var* = (1 / k) (var of the policy means + mean over policies of their variance / n)
    data = random_episodes(7, policies=5, count=40)
    costs = data.costs[:, :, 0]
    expected = (costs.mean(axis=1).var() + (costs.var(axis=1) / 40).mean()) / 5
    draws = score_row(board(1.0), data).draws.excess  # limit and scale 1
    assert draws.var() == pytest.approx(expected, rel=0.15)
    assert draws.mean() == pytest.approx(costs.mean() - 1.0, abs=5 * math.sqrt(expected / 2000))


@pytest.mark.parametrize(("spread", "fewest", "most"), [(0.0, 89, 100), (10.0, 74, 94)])
def test_interval_covers_the_mean_as_often_as_documented(spread, fewest, most):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        normal = rng.normal(50.0, 10.0, size=(5, 40)) + rng.normal(0.0, spread, size=(5, 1))
        mean = score_row(board(25.0), episodes(normal, normal)).statistics.costs[0].mean
        covered += mean.low <= 50.0 <= mean.high
    assert fewest <= covered <= most


def test_wilson_interval_by_hand():
    found, z, n, p = wilson_interval(3, 20), stats.norm.ppf(0.975), 20, 0.15
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert found.value == p
    assert found.low == pytest.approx(center - half, abs=1e-12)
    assert found.high == pytest.approx(center + half, abs=1e-12)
    assert wilson_interval(0, 500).low == 0.0
    assert wilson_interval(500, 500).high == 1.0


@given(
    st.floats(0.0, 1e6), st.integers(1, 6), st.integers(1, 12), st.sampled_from([0.0, 0.1, 25.0])
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_equal_costs_have_no_rounding_error(cost, policies, count, limit):
    data = episodes(np.zeros((policies, count)), np.full((policies, count), cost))
    (found,) = score_row(board(limit), data).statistics.costs
    for interval in (found.mean, found.p90, found.p95, found.cvar):
        assert (interval.value, interval.low, interval.high) == (cost, cost, cost)
    assert found.upper_bound == found.p95_upper_bound == cost


def test_whole_numbers_at_the_limit_have_a_mean_at_the_limit():
    costs = np.tile([0.0, 50.0, 24.0, 26.0, 25.0], (5, 20))
    (cost,) = score_row(board(25.0), episodes(np.zeros((5, 100)), costs)).statistics.costs
    assert cost.mean.value == 25.0
    assert cost.excess == 0.0
    assert cost.upper_bound > 25.0


def test_tail_below_the_limit_has_no_excess_but_draws_keep_the_distance():
    row = score_row(board(1000.0), random_episodes(2))
    assert row.statistics.costs[0].excess_p95 == 0.0
    assert row.statistics.costs[0].excess < 0.0
    assert (row.draws.excess_p95 < 0.0).all()


def test_largest_excess_over_constraints_is_scaled():
    data = random_episodes(11, constraints=3)
    trial = board(5.0, 0.0, 40.0, scales=(5.0, 2.0, 40.0))
    row = score_row(trial, data)
    means = data.costs.mean(axis=(0, 1))
    expected = (means - [5.0, 0.0, 40.0]) / [5.0, 2.0, 40.0]
    assert [cost.excess for cost in row.statistics.costs] == pytest.approx(expected.tolist())
    assert [cost.name for cost in row.statistics.costs] == ["cost 0", "cost 1", "cost 2"]
    singles = [
        score_row(board(limit, scales=(scale,)), _constraint(data, i)).draws.excess
        for i, (limit, scale) in enumerate([(5.0, 5.0), (0.0, 2.0), (40.0, 40.0)])
    ]
    np.testing.assert_array_equal(row.draws.excess, np.max(singles, axis=0))


def _constraint(data, index):
    only = slice(index, index + 1)
    return dataclasses.replace(
        data, costs=data.costs[:, :, only], plain_costs=data.plain_costs[:, :, only]
    )


def test_same_episodes_give_the_same_bits_whatever_was_scored_before():
    first = score_row(board(12.0), random_episodes(1))
    resampled_episodes.cache_clear()
    score_row(board(12.0), random_episodes(2, policies=3, count=10))
    again = score_row(board(12.0), random_episodes(1))
    assert first.statistics == again.statistics
    for field in dataclasses.fields(first.draws):
        ours, theirs = getattr(first.draws, field.name), getattr(again.draws, field.name)
        assert ours.tobytes() == theirs.tobytes()


def test_rows_with_equal_sizes_are_paired():
    data = random_episodes(1)
    better = dataclasses.replace(data, returns=data.returns + 0.5)
    difference = score_row(board(9.0), better).draws.score - score_row(board(9.0), data).draws.score
    np.testing.assert_allclose(difference, 0.5 / 20.0, rtol=1e-9)


def test_statistics_and_draws_read_back_bit_for_bit():
    row = score_row(board(12.0, 0.0), random_episodes(9, constraints=2))
    text = statistics_to_json(row.statistics)
    assert statistics_from_json(text) == row.statistics
    assert statistics_to_json(statistics_from_json(text)) == text
    draws = draws_from_bytes(draws_to_bytes(row.draws))
    for field in dataclasses.fields(draws):
        assert getattr(draws, field.name).tobytes() == getattr(row.draws, field.name).tobytes()


def test_damaged_scores_are_refused():
    row = score_row(board(12.0), random_episodes(9))
    text = statistics_to_json(row.statistics)
    with pytest.raises(ValueError, match="version 0 but this program computes version 2; score"):
        statistics_from_json(text.replace('"version": 2', '"version": 0'))
    for damaged in (text[:-2], "[1]", "{}", "3", text.replace("policies", "pilots"), "null"):
        with pytest.raises(ValueError, match="cannot be read .* score the stored episodes again"):
            statistics_from_json(damaged)
    infinite = dataclasses.replace(row.statistics, mean_length=math.inf)
    with pytest.raises(ValueError, match="not JSON compliant"):
        statistics_to_json(infinite)
    content = draws_to_bytes(row.draws)
    pickled = _numpy_file(np.array([{}, {}, {}], dtype=object))
    for damaged in (b"", content[:-1], content[5:], pickled, b"PK\x03\x04"):
        with pytest.raises(ValueError, match="cannot be read"):
            draws_from_bytes(damaged)
    with pytest.raises(
        ValueError, match=r"are float32 of shape \(3, 4\); they are float64 of shape"
    ):
        draws_from_bytes(_numpy_file(np.zeros((3, 4), dtype=np.float32)))


def _numpy_file(array):
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_refusals():
    data = random_episodes(0, constraints=2)
    with pytest.raises(ValueError, match=r"have 2 costs but Safe/Trial-v0 has 1 constraints"):
        score_row(board(1.0), data)
    nothing = episodes(np.zeros((5, 0)), np.zeros((5, 0)))
    with pytest.raises(
        ValueError, match="5 policies with 0 episodes each; at least one policy with one episode"
    ):
        score_row(board(1.0), nothing)
    broken = np.array([[1.0, math.nan]])
    with pytest.raises(ValueError, match="NaN or infinite; every sum has to be finite"):
        score_row(board(1.0), episodes(broken, np.zeros((1, 2))))
