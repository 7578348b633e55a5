"""Public numbers of random rows agree with their full numbers, tiers and the documentation."""

import dataclasses
import json
import math

import numpy as np
import pytest

from leaderboard.boards.board import board_of
from leaderboard.scores.published import (
    exactly,
    numbers_of,
    published_from_json,
    published_row,
    published_to_json,
    rounded,
    rounded_difference,
)
from leaderboard.scores.ranked_row import Candidate, Feasibility
from leaderboard.scores.ranking import rank_rows, tier_of
from leaderboard.scores.row_score import RowScore
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.scores.scoring import score_row
from tests.leaderboard.scores.episode_solver import cost_quantile_step, step_of, tenth_step

REGRESSION, CLIFF, HOPPER = (
    board_of(env)
    for env in ("Safe/ConstrainedRegression-v0", "Safe/CliffWorld-v0", "SafetyHopperVelocity-v1")
)


def a_row(board, seed, policies=5):
    """A row whose costs are near the limit, of the kind that the board has."""
    rng = np.random.default_rng(seed)
    shape = (policies, 100)
    limit = board.constraints[0].limit
    if board is REGRESSION:
        returns, costs = -rng.gamma(0.5, 0.2, shape), 1.0 * (rng.random(shape) < limit)
    elif board is CLIFF:
        returns = np.where(rng.random(shape) < 0.7, 0.9 ** rng.integers(3, 40, shape), 0.0)
        costs = np.where(rng.random(shape) < 0.45, 0.9 ** rng.integers(3, 20, shape), 0.0)
    else:
        returns, costs = rng.normal(1500.0, 120.0, shape), 1.0 * rng.poisson(limit, shape)
    lengths = rng.integers(1, board.longest_episode + 1, shape)
    costs = costs[..., None]
    return score_row(board, ScoredEpisodes(returns, costs, 2 * returns, 2 * costs, lengths))


def shown_row(score, board):
    return RowScore(rounded(board, score.statistics), score.draws)


EACH_BOARD = pytest.mark.parametrize("board", [REGRESSION, CLIFF, HOPPER], ids=lambda b: b.env)


@EACH_BOARD
def test_rounded_numbers_agree_with_the_tier(board):
    tiers = set()
    for seed in range(12):
        score = a_row(board, seed)
        for feasibility in Feasibility:
            tier = tier_of(score, feasibility)
            assert tier_of(shown_row(score, board), feasibility) is tier
            tiers.add(tier)
        full, shown = score.statistics.costs[0], rounded(board, score.statistics).costs[0]
        for mean, public in zip(full.seed_means, shown.seed_means, strict=True):
            assert (mean > full.limit) == (public > full.limit)
    assert len(tiers) >= 2  # the limit is in the middle of these rows


@EACH_BOARD
@pytest.mark.parametrize("policies", [1, 2, 5])
def test_a_step_is_more_than_one_episode_can_move_a_mean(board, policies):
    """The steps are found anew, by search."""
    score = a_row(board, 3, policies)
    full, shown = score.statistics, rounded(board, score.statistics)
    total = 100 * policies
    pairs = [
        (full.mean_return, shown.mean_return, max(full.spans.values), total, -math.inf),
        (full.costs[0].mean, shown.costs[0].mean, max(full.costs[0].spans.values), total, None),
    ]
    for exact, public, span, count, limit in pairs:
        limit = full.costs[0].limit if limit is None else limit
        step = step_of(exact.value, (exact.high - exact.low) / 8, 2 * span / count)
        assert step >= 2 * span / count
        for number in (public.value, public.low, public.high):
            assert number / step == pytest.approx(round(number / step), abs=1e-6)
        near_limit = abs(exact.value - limit) < step
        assert abs(public.value - exact.value) <= step * (1.0 if near_limit else 0.5) + 1e-12
        assert exact.low - step <= public.low <= min(exact.low + 1e-12, public.value)
        assert exact.high + step >= public.high >= max(exact.high - 1e-12, public.value)
    for exact, public, span in zip(
        full.seed_lengths, shown.seed_lengths, full.length_spans, strict=True
    ):
        assert abs(public - exact) <= step_of(exact, hidden=2 * span / 100) / 2 + 1e-12


@EACH_BOARD
@pytest.mark.parametrize("policies", [1, 5])
def test_no_value_has_more_than_three_digits(board, policies):
    """The ends of intervals are as fine as the value between them."""
    for seed in range(3):
        shown = rounded(board, a_row(board, seed, policies).statistics)
        cost = shown.costs[0]
        intervals = (shown.score, shown.mean_return, cost.mean, cost.p90, cost.p95, cost.cvar)
        values = [interval.value for interval in (*intervals, cost.violation_probability)]
        values += [shown.plain_mean_return, cost.plain_mean, shown.mean_length, cost.upper_bound]
        values += [*shown.seed_returns, *shown.seed_lengths, *cost.seed_means]
        values += [*shown.return_quantiles, *cost.quantiles]
        known = [value for value in values if not math.isnan(value)]
        assert [value for value in known if float(f"{value:.3g}") != value] == []


def test_the_score_of_a_preview_is_that_of_its_mean_return():
    """Two ways to round one number would tell more than either."""
    for seed in range(20):
        statistics = a_row(HOPPER, seed, policies=1).statistics
        shown = rounded(HOPPER, statistics)
        grid = step_of(
            statistics.score.value,
            (statistics.score.high - statistics.score.low) / 8,
            2 * statistics.spans.values[0] / 100 / (1716.08 - 19.0),
        )
        expected = HOPPER.normalized(shown.mean_return.value)
        assert abs(shown.score.value - expected) <= 0.51 * grid
        assert shown.seed_returns == (shown.mean_return.value,)
        assert shown.costs[0].seed_means == (shown.costs[0].mean.value,)


def test_quantiles_never_decrease_and_end_before_the_tails():
    for board in (REGRESSION, CLIFF, HOPPER):
        shown = rounded(board, a_row(board, 7).statistics)
        for quantiles, last in ((shown.return_quantiles, 90), (shown.costs[0].quantiles, 95)):
            known = [p for p, value in enumerate(quantiles) if not math.isnan(value)]
            assert known == sorted({*range(10, 100, 10), last})
            assert np.all(np.diff([quantiles[p] for p in known]) >= 0)


@pytest.mark.parametrize("board", [CLIFF, HOPPER], ids=lambda board: board.env)
def test_quantiles_are_multiples_of_their_steps(board):
    full = a_row(board, 5).statistics
    shown = rounded(board, full)
    tenths, cost, returns = range(10, 100, 10), full.costs[0], full.return_quantiles
    found = [(returns[p], shown.return_quantiles[p], tenth_step(returns, p, 500)) for p in tenths]
    found += [
        (cost.quantiles[p], shown.costs[0].quantiles[p], cost_quantile_step(cost, p, 500))
        for p in (*tenths, 95)
    ]
    known = [each for each in found if each[-1] > 0]  # the others are the zeros of many episodes
    assert len(known) > 8
    for exact, public, step in known:
        assert public / step == pytest.approx(round(public / step), abs=1e-6)
        assert abs(public - exact) <= 0.5001 * step


def test_equal_episodes_are_shown_as_they_are():
    ones = np.full((5, 100), 0.375)
    costs = np.full((5, 100, 1), 0.175)
    row = score_row(CLIFF, ScoredEpisodes(ones, costs, ones, costs, np.full((5, 100), 7)))
    shown = rounded(CLIFF, row.statistics)
    assert (shown.mean_return.low, shown.mean_return.value, shown.mean_length) == (0.375, 0.375, 7)
    assert (shown.costs[0].mean.value, shown.costs[0].upper_bound) == (0.175, 0.175)
    assert shown.costs[0].violation_probability.value == 0.0


def test_differences_are_no_finer_than_the_scores():
    """Two policies that differ in one episode have a paired interval of that episode's size."""
    rng = np.random.default_rng(1)
    returns = rng.normal(1500.0, 120.0, (5, 100))
    other = returns.copy()
    other[4, 17] += 40.0
    costs, lengths = np.zeros((5, 100, 1)), np.full((5, 100), 1000)
    first, second = (
        score_row(HOPPER, ScoredEpisodes(each, costs, each, costs, lengths))
        for each in (returns, other)
    )
    draws = second.draws.score - first.draws.score
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    step = step_of(
        first.statistics.score.value,
        (first.statistics.score.high - first.statistics.score.low) / 8,
        2 * max(second.statistics.spans.values) / 300 / (1716.08 - 19.0),
    )
    assert high - low < step / 5
    ends = rounded_difference(HOPPER, first, second, (low, high))
    assert ends[0] <= low <= high <= ends[1]
    for end in ends:
        assert end / step == pytest.approx(round(end / step), abs=1e-6)


def test_public_rows_have_neither_draws_nor_spans():
    score = a_row(HOPPER, 1)
    (ranked,) = rank_rows([Candidate(1, score, 1000, 0.0)], Feasibility.MEAN)
    shown = published_row(ranked, rounded(HOPPER, score.statistics))
    assert (shown.rank, shown.tier) == (ranked.rank, ranked.tier)
    assert shown.candidate.score.draws.score.size == 0
    numbers = numbers_of(shown)
    assert (numbers.spans, numbers.length_spans, numbers.costs[0].spans) == (None, (), None)
    assert numbers_of(published_row(ranked, None)) is None


@pytest.mark.parametrize("policies", [1, 5])
def test_public_numbers_survive_json(policies):
    statistics = a_row(HOPPER, 2, policies).statistics
    for numbers in (rounded(HOPPER, statistics), exactly(statistics)):
        text = json.dumps(published_to_json(numbers), allow_nan=False)
        again = published_from_json(json.loads(text))
        np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(numbers))


def test_numbers_without_spans_are_refused():
    statistics = dataclasses.replace(a_row(HOPPER, 1).statistics, spans=None)
    with pytest.raises(ValueError, match="^the statistics have no spans, which determine how far"):
        rounded(HOPPER, statistics)
