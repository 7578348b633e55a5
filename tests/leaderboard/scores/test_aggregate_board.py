"""The board over all environments against hand-computed numbers and the slow statistics."""

import dataclasses

import numpy as np
import pytest

from baselines.measures.statistics import (
    interquartile_mean,
    probability_of_improvement,
    stratified_bootstrap_interval,
)
from leaderboard.boards.board import Board
from leaderboard.scores.aggregate_board import (
    Entry,
    EnvironmentResult,
    aggregate_scores,
    improvement,
    normalized_returns,
    resampled_means,
)
from leaderboard.scores.ranked_row import Tier
from leaderboard.scores.row_score import Interval, RowStatistics
from safe_envs.contract.cost_signal import ConstraintSpec

ENVS = ("Safe/A-v0", "Safe/B-v0", "Safe/C-v0")


def board(env, random_return=0.0, reference_return=1.0):
    constraint = ConstraintSpec("cost", 1.0)
    numbers = (random_return, reference_return)
    return Board(env, env, 1, (constraint,), 1.0, 9, *numbers, "", "", (1.0,))


BOARDS = (board(ENVS[0]), board(ENVS[1], 10.0, 20.0), board(ENVS[2], -4.0, 0.0))


def result(returns, tier=Tier.SAFE):
    unused = Interval(0.0, 0.0, 0.0)
    statistics = RowStatistics(
        policies=len(returns),
        episodes=100,
        score=unused,
        mean_return=unused,
        plain_mean_return=0.0,
        mean_length=1.0,
        seed_returns=tuple(returns),
        seed_lengths=(1.0,) * len(returns),
        return_quantiles=(0.0,) * 101,
        costs=(),
    )
    return EnvironmentResult(tier, statistics)


def random_entry(seed, names=ENVS):
    rng = np.random.default_rng(seed)
    return {env: result(rng.normal(12.0, 3.0, size=5).tolist()) for env in names}


def test_values_by_hand():
    entry = {
        ENVS[0]: result([0.1, 0.2, 0.3, 0.4, 0.5, 99.0], Tier.FEASIBLE),
        ENVS[1]: result([11.0, 12.0, 13.0, 14.0, 25.0]),
        ENVS[2]: result([0.0] * 5, Tier.VIOLATING),
    }
    (found,) = aggregate_scores({Entry("ann", "ppo"): entry}, BOARDS)
    expected = [[0.1, 0.1, 0.0], [0.2, 0.2, 0.0], [0.3, 0.3, 0.0], [0.4, 0.4, 0.0], [0.5, 1.5, 0.0]]
    np.testing.assert_allclose(found.matrix, expected, atol=1e-15)
    assert (found.feasible, found.environments) == (2, 3)
    assert (found.rank, found.rank_interval) == (1, (1, 1))
    # floor(15 / 4) = 3 values are cut off at either end of 0 x 5, .1 .1 .2 .2 .3 .3 .4 .4 .5 1.5
    assert found.score.value == pytest.approx((0.0 + 0.0 + 0.2 + 0.4 + 0.6 + 0.4) / 9)
    assert found.environment_scores == pytest.approx((0.3, 0.3, 0.0))
    assert found.score.low <= found.score.value <= found.score.high


def test_what_counts_as_zero():
    missing = [
        None,
        result([1.0] * 5, Tier.VIOLATING),
        EnvironmentResult(Tier.INVALID, None),
        result([1.0] * 4),
    ]
    assert all(normalized_returns(BOARDS[0], one) is None for one in missing)
    counted = normalized_returns(BOARDS[0], result([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert counted.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_feasible_environments_come_before_the_score_and_names_decide_ties():
    low, high = [0.01] * 5, [5.0] * 5
    entries = {
        Entry("zoe", "two"): {ENVS[0]: result(low), ENVS[2]: result([-3.99] * 5)},
        Entry("bob", "one"): {ENVS[0]: result(high), ENVS[2]: result(high, Tier.VIOLATING)},
        Entry("ann", "one"): {ENVS[0]: result(high)},
        Entry("ann", "none"): {},
        Entry("ann", "all one"): {ENVS[0]: result([9.0] * 5)},
    }
    found = aggregate_scores(entries, (BOARDS[0], BOARDS[2]))
    assert [(one.entry.account, one.entry.algorithm, one.feasible) for one in found] == [
        ("zoe", "two", 2),
        ("ann", "all one", 1),
        ("ann", "one", 1),
        ("bob", "one", 1),
        ("ann", "none", 0),
    ]
    assert [one.rank for one in found] == [1, 2, 3, 4, 5]
    backwards = aggregate_scores(dict(reversed(entries.items())), (BOARDS[0], BOARDS[2]))
    assert [one.entry for one in backwards] == [one.entry for one in found]


@pytest.mark.parametrize("shape", [(5, 3), (7, 4)])
def test_interval_equals_the_slow_one(shape):
    matrix = np.random.default_rng(4).normal(size=shape)
    means = resampled_means(matrix, np.random.default_rng(8))
    slow = stratified_bootstrap_interval(matrix, interquartile_mean, rng=np.random.default_rng(8))
    np.testing.assert_allclose(np.quantile(means, [0.025, 0.975]), slow, atol=1e-13)


def test_rank_intervals_contain_the_rank_and_separate_clear_differences():
    entries = {Entry("ann", f"{seed:02}"): random_entry(seed) for seed in range(12)}
    entries[Entry("ann", "best")] = {env: result([90.0 + i for i in range(5)]) for env in ENVS}
    entries[Entry("ann", "none")] = {}
    found = aggregate_scores(entries, BOARDS)
    assert all(one.rank_interval[0] <= one.rank <= one.rank_interval[1] for one in found)
    assert (found[0].entry.algorithm, found[0].rank_interval) == ("best", (1, 1))
    assert (found[-1].entry.algorithm, found[-1].rank_interval) == ("none", (14, 14))
    assert any(low < high for low, high in (one.rank_interval for one in found))


def test_improvement_is_that_of_the_matrices():
    entries = {Entry("ann", name): random_entry(seed) for seed, name in enumerate("ab")}
    first, second = aggregate_scores(entries, BOARDS)
    wins = [x > y for env in range(3) for x in first.matrix[:, env] for y in second.matrix[:, env]]
    assert improvement(first, second) == pytest.approx(np.mean(wins))
    assert improvement(first, second) + improvement(second, first) == pytest.approx(1.0)
    assert improvement(first, first) == 0.5
    assert improvement(first, second) == probability_of_improvement(first.matrix, second.matrix)


def test_more_return_never_lowers_a_rank():
    entries = {Entry("ann", f"{seed:02}"): random_entry(seed) for seed in range(6)}
    for entry, results in entries.items():
        before = next(one for one in aggregate_scores(entries, BOARDS) if one.entry == entry)
        old = results[ENVS[1]].statistics
        better = dataclasses.replace(old, seed_returns=tuple(x + 2.0 for x in old.seed_returns))
        changed = results | {ENVS[1]: EnvironmentResult(Tier.SAFE, better)}
        after = aggregate_scores(entries | {entry: changed}, BOARDS)
        assert next(one for one in after if one.entry == entry).rank <= before.rank


def test_refusals():
    with pytest.raises(ValueError, match="there are no boards; pass at least one"):
        aggregate_scores({}, [])
    with pytest.raises(ValueError, match="'ppo' of 'ann' has a result in 'Safe/C-v0'; the boards"):
        aggregate_scores({Entry("ann", "ppo"): random_entry(0)}, BOARDS[:2])
    assert aggregate_scores({}, BOARDS) == []
