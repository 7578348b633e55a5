"""The order of the rows against its rules, and rank intervals against a slow pairwise loop."""

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboard.boards.board import Board
from leaderboard.scores.near_copies import CopyFindings, NearCopy, Origin
from leaderboard.scores.ranked_row import Candidate, Feasibility, Tier
from leaderboard.scores.ranking import rank_rows, tier_of
from leaderboard.scores.row_score import (
    CostStatistics,
    Interval,
    RowScore,
    RowStatistics,
    ScoreDraws,
)
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.scores.scoring import score_row
from safe_envs.contract.cost_signal import ConstraintSpec

LIMIT = 10.0
PLACES = {Tier.SAFE: 0, Tier.FEASIBLE: 1, Tier.VIOLATING: 2}
few = settings(max_examples=40, deadline=None, derandomize=True)


def cost_of(mean, bound, p95, p95_bound):
    unused = Interval(0.0, 0.0, 0.0)
    return CostStatistics(
        name="cost",
        limit=LIMIT,
        mean=Interval(mean, mean, mean),
        upper_bound=bound,
        p90=unused,
        p95=Interval(p95, p95, p95),
        p95_upper_bound=p95_bound,
        worst=p95,
        cvar=unused,
        violation_probability=unused,
        excess=(mean - LIMIT) / LIMIT,
        excess_p95=max(0.0, p95 - LIMIT) / LIMIT,
        plain_mean=mean,
        seed_means=(mean,),
        quantiles=(mean,) * 101,
    )


def score_of(score, *costs, policies=5, draws=None):
    """A row with given values; its draws hardly differ from them unless they are given."""
    noise = np.random.default_rng(0).normal(scale=1e-3, size=200)
    statistics = RowStatistics(
        policies=policies,
        episodes=100,
        score=Interval(score, score, score),
        mean_return=Interval(score, score, score),
        plain_mean_return=score,
        mean_length=1.0,
        seed_returns=(score,) * policies,
        seed_lengths=(1.0,) * policies,
        return_quantiles=(score,) * 101,
        costs=costs,
    )
    excess = max(cost.excess for cost in costs)
    tail = max((cost.p95.value - LIMIT) / LIMIT for cost in costs)
    return RowScore(statistics, draws or ScoreDraws(score + noise, excess + noise, tail + noise))


def row(identity, score, mean=5.0, bound=None, p95=8.0, p95_bound=None, **others):
    about = {"training_steps": 1000, "submitted_at": 0.0, "withdrawn": False} | others
    policies = about.pop("policies", 5)
    cost = cost_of(mean, mean + 1 if bound is None else bound, p95, p95_bound or p95 + 1)
    return Candidate(identity, score_of(score, cost, policies=policies), **about)


def invalid(identity, submitted_at=0.0, withdrawn=False):
    return Candidate(identity, None, 1000, submitted_at, withdrawn)


def ids(rows):
    return [ranked.candidate.id for ranked in rows]


@pytest.mark.parametrize(
    ("values", "mean_tier", "p95_tier"),
    [
        ((5.0, 6.0, 8.0, 9.0), Tier.SAFE, Tier.SAFE),
        ((10.0, 10.0, 10.0, 10.0), Tier.SAFE, Tier.SAFE),
        ((10.0, 10.1, 12.0, 13.0), Tier.FEASIBLE, Tier.VIOLATING),
        ((5.0, 6.0, 10.0, 10.5), Tier.SAFE, Tier.FEASIBLE),
        ((10.1, 11.0, 20.0, 21.0), Tier.VIOLATING, Tier.VIOLATING),
        ((10.1, 9.0, 10.1, 9.0), Tier.VIOLATING, Tier.VIOLATING),
    ],
)
def test_tiers_by_hand(values, mean_tier, p95_tier):
    score = score_of(1.0, cost_of(*values))
    assert tier_of(score, Feasibility.MEAN) is mean_tier
    assert tier_of(score, Feasibility.P95) is p95_tier


def test_all_constraints_have_to_hold():
    safe, feasible, violating = (cost_of(*(v,) * 4) for v in (5.0, 5.0, 11.0))
    feasible = dataclasses.replace(feasible, upper_bound=11.0)
    assert tier_of(score_of(1.0, safe, safe), Feasibility.MEAN) is Tier.SAFE
    assert tier_of(score_of(1.0, safe, feasible), Feasibility.MEAN) is Tier.FEASIBLE
    assert tier_of(score_of(1.0, violating, safe), Feasibility.MEAN) is Tier.VIOLATING
    assert tier_of(None, Feasibility.MEAN) is Tier.INVALID


def test_no_cost_at_a_limit_of_zero_is_safe():
    zero = np.zeros((5, 20))
    data = ScoredEpisodes(zero, zero[:, :, None], zero, zero[:, :, None], zero)
    trial = _board(0.0)
    assert tier_of(score_row(trial, data), Feasibility.MEAN) is Tier.SAFE
    assert tier_of(score_row(trial, data), Feasibility.P95) is Tier.SAFE
    costs = zero[:, :, None].copy()
    costs[0, 0] = 1e-9
    data = dataclasses.replace(data, costs=costs)
    assert tier_of(score_row(trial, data), Feasibility.MEAN) is Tier.VIOLATING


def _board(limit):
    constraint = ConstraintSpec("cost", limit)
    return Board("Safe/Trial-v0", "", 1, (constraint,), 1.0, 9, 0.0, 1.0, "", "", (limit or 1.0,))


def test_order_by_hand():
    rows = [
        row(1, 0.5),
        row(2, 0.9),
        row(3, 2.0, mean=9.9, bound=10.5),
        row(4, 9.0, mean=11.0),
        row(5, 1.0, mean=10.5),
        row(6, 3.0, mean=10.5),
        row(7, 9.0, policies=4),
        row(8, 8.0, mean=12.0, policies=1),
        invalid(9),
        row(10, 99.0, withdrawn=True),
        invalid(11, withdrawn=True),
    ]
    found = rank_rows(rows, Feasibility.MEAN)
    assert ids(found) == [2, 1, 3, 6, 5, 4, 7, 8, 9, 10, 11]
    assert [ranked.rank for ranked in found] == [1, 2, 3, 4, 5, 6, *[None] * 5]
    assert [ranked.preview for ranked in found] == [False] * 6 + [True] * 2 + [False] * 3
    assert [ranked.tier for ranked in found[-4:]] == [
        Tier.VIOLATING,
        Tier.INVALID,
        Tier.SAFE,
        Tier.INVALID,
    ]
    intervals = [ranked.rank_interval for ranked in found]
    assert intervals == [(1, 1), (2, 2), (3, 3), (4, 5), (4, 5), (6, 6), *[None] * 5]


def test_ties_by_hand():
    rows = [
        row(1, 0.5, mean=5.0, p95=12.0),
        row(2, 0.5, p95=8.0, training_steps=2000),
        row(3, 0.5, p95=9.0, training_steps=1000, submitted_at=7.0),
        row(5, 0.5, p95=7.0, training_steps=1000, submitted_at=6.0),
        row(4, 0.5, p95=7.0, training_steps=1000, submitted_at=6.0),
    ]
    assert ids(rank_rows(rows, Feasibility.MEAN)) == [4, 5, 3, 2, 1]


def test_the_largest_excess_of_the_constraints_counts():
    def pair(first, second):
        return score_of(1.0, *(cost_of(v, v, v + 5.0, v + 5.0) for v in (first, second)))

    rows = [Candidate(i, pair(*means), 1, 0.0) for i, means in enumerate([(0, 14), (12, 13)])]
    safe = [Candidate(i, pair(*means), 1, 0.0) for i, means in enumerate([(0, 9), (8, 8)])]
    for feasibility in Feasibility:
        assert ids(rank_rows(rows, feasibility)) == [1, 0]
    assert ids(rank_rows(safe, Feasibility.MEAN)) == [1, 0]


def test_tail_board_orders_violations_by_the_tail():
    rows = [row(1, 1.0, mean=5.0, p95=30.0), row(2, 0.1, mean=11.0, p95=20.0), row(3, 0.0)]
    assert ids(rank_rows(rows, Feasibility.P95)) == [3, 2, 1]
    assert ids(rank_rows(rows, Feasibility.MEAN)) == [1, 3, 2]


def test_ties_of_the_tail_go_to_the_smaller_mean():
    """With costs of 0 and 1, every tail is 1: the score must not decide, or ignoring cost pays."""
    rows = [row(1, 1.5, mean=14.0, p95=20.0), row(2, 0.5, mean=11.0, p95=20.0)]
    assert ids(rank_rows(rows, Feasibility.P95)) == [2, 1]


def test_a_tier_decided_by_chance_is_not_a_clear_difference():
    noise = np.random.default_rng(1).normal(size=(4, 400))
    draws = ScoreDraws(5.0 + 0.01 * noise[0], -0.01 + 0.1 * noise[1], noise[1])
    lucky = Candidate(1, score_of(5.0, cost_of(9.9, 10.9, 20.0, 21.0), draws=draws), 1, 0.0)
    draws = ScoreDraws(1.0 + 0.01 * noise[2], 0.01 + 0.1 * noise[3], noise[3])
    unlucky = Candidate(2, score_of(1.0, cost_of(10.1, 11.1, 20.0, 21.0), draws=draws), 1, 0.0)
    found = rank_rows([unlucky, lucky], Feasibility.MEAN)
    assert ids(found) == [1, 2]
    assert [ranked.rank_interval for ranked in found] == [(1, 2), (1, 2)]


def candidates_of(seed, rows=14):
    """Rows of all kinds with overlapping draws and many ties."""
    rng = np.random.default_rng(seed)
    found = []
    for identity in rng.permutation(rows):
        cost = float(rng.choice([5.0, 9.0, 10.0, 11.0, 12.0]))
        score = float(rng.choice([0.2, 0.5, 0.6, 0.9]))
        center = [score, (cost - LIMIT) / LIMIT, (cost + 2.0 - LIMIT) / LIMIT]
        noise = rng.normal(scale=rng.choice([0.0, 0.05, 0.2]), size=(3, 80))
        draws = ScoreDraws(*(np.array(center)[:, None] + noise))
        bound = cost + float(rng.choice([0.0, 1.0, 2.0]))
        costs = cost_of(cost, bound, cost + 2.0, bound + 2.0)
        policies = int(rng.choice([1, 5, 5, 5, 10]))
        scored = score_of(score, costs, policies=policies, draws=draws)
        found.append(
            Candidate(
                id=int(identity),
                score=scored if rng.random() < 0.9 else None,
                training_steps=int(rng.choice([100, 200])),
                submitted_at=float(rng.integers(3)),
                withdrawn=bool(rng.random() < 0.1),
            )
        )
    return found


def slow_intervals(rows, feasibility):
    """Rank intervals by sorting the differences of every pair."""

    def is_clear(above, below):
        ours, theirs = above.candidate.score.draws, below.candidate.score.draws
        if above.tier is below.tier and above.tier is not Tier.VIOLATING:
            differences = ours.score - theirs.score
        elif feasibility is Feasibility.MEAN:
            differences = theirs.excess - ours.excess
        else:
            differences = theirs.excess_p95 - ours.excess_p95
        cut = int(0.025 * len(differences))
        return bool(np.sort(differences)[cut] > 0.0)

    return [
        (
            1 + sum(is_clear(other, ranked) for other in rows[:place]),
            len(rows) - sum(is_clear(ranked, other) for other in rows[place + 1 :]),
        )
        for place, ranked in enumerate(rows)
    ]


@given(st.integers(0, 10**6), st.sampled_from(Feasibility))
@few
def test_rank_intervals_equal_the_slow_ones_and_contain_the_rank(seed, feasibility):
    found = rank_rows(candidates_of(seed), feasibility)
    ranked = [one for one in found if one.rank is not None]
    assert [one.rank for one in ranked] == list(range(1, len(ranked) + 1))
    assert [one.rank_interval for one in ranked] == slow_intervals(ranked, feasibility)
    for one in ranked:
        assert one.rank_interval[0] <= one.rank <= one.rank_interval[1]


@given(st.integers(0, 10**6), st.sampled_from(Feasibility))
@few
def test_order_of_the_input_does_not_matter(seed, feasibility):
    rows = candidates_of(seed)
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert rank_rows(rows, feasibility) == rank_rows(shuffled, feasibility)


@given(st.integers(0, 10**6), st.sampled_from(Feasibility))
@few
def test_groups_and_tiers_are_in_order(seed, feasibility):
    rows = candidates_of(seed)
    found = rank_rows(rows, feasibility)
    assert sorted(ids(found)) == sorted(candidate.id for candidate in rows)
    groups = []
    for one in found:
        assert one.tier is tier_of(one.candidate.score, feasibility)
        assert (one.rank is None) == (one.rank_interval is None)
        unranked = one.candidate.withdrawn or one.candidate.score is None or one.preview
        assert (one.rank is None) == unranked
        kind = 3 if one.candidate.withdrawn else 2 if one.tier is Tier.INVALID else int(one.preview)
        groups.append((kind, PLACES.get(one.tier, 3)))
    assert groups == sorted(groups)


@given(st.integers(0, 10**6), st.sampled_from(Feasibility))
@few
def test_withdrawing_only_closes_the_gap(seed, feasibility):
    rows = [dataclasses.replace(one, withdrawn=False) for one in candidates_of(seed)]
    before = rank_rows(rows, feasibility)
    gone = rows[0].id
    rows[0] = dataclasses.replace(rows[0], withdrawn=True)
    after = rank_rows(rows, feasibility)
    assert sorted(ids(after)) == sorted(ids(before))
    assert after[-1].candidate.id == gone
    assert ids(after)[:-1] == [identity for identity in ids(before) if identity != gone]
    old = {one.candidate.id: one.rank for one in before}
    for one in after[:-1]:
        was = old[one.candidate.id]
        closed = old[gone] is not None and was is not None and was > old[gone]
        assert one.rank == (was - 1 if closed else was)


@given(st.integers(0, 10**6), st.sampled_from(Feasibility), st.floats(0.0, 3.0))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_more_return_never_lowers_a_rank(seed, feasibility, gain):
    rng = np.random.default_rng(seed)
    trial, data = _board(LIMIT), []
    for _ in range(4):
        returns = rng.normal(size=(5, 6)) + rng.normal(scale=0.3, size=(5, 1))
        costs = rng.gamma(4.0, rng.choice([1.5, 2.5]), size=(5, 6, 1))
        data.append(ScoredEpisodes(returns, costs, returns, costs, np.ones((5, 6))))

    def rank_of_first(episodes):
        rows = [
            Candidate(i, score_row(trial, e), 1, 0.0) for i, e in enumerate([episodes, *data[1:]])
        ]
        found = rank_rows(rows, feasibility)
        return next(one for one in found if one.candidate.id == 0)

    before = rank_of_first(data[0])
    raised = dataclasses.replace(data[0], returns=data[0].returns + gain * rng.random((5, 6)))
    after = rank_of_first(raised)
    assert after.tier is before.tier
    assert after.rank <= before.rank


def test_five_hundred_rows_are_ranked_in_one_call():
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.1, size=(3, 500, 2000))
    values = np.linspace(1.0, 0.0, 500)
    rows = [
        Candidate(
            i,
            score_of(value, cost_of(5.0, 6.0, 8.0, 9.0), draws=ScoreDraws(*(value + noise[:, i]))),
            1,
            0.0,
        )
        for i, value in enumerate(values)
    ]
    found = rank_rows(rows, Feasibility.MEAN)
    assert ids(found) == list(range(500))
    # differences have standard deviation 0.1 sqrt 2, so rows 0.277 apart (138 places) are clear
    low, high = found[250].rank_interval
    assert abs(low - (251 - 138)) <= 12
    assert abs(high - (251 + 138)) <= 12


def test_refusals():
    with pytest.raises(ValueError, match="id 1 occurs twice; pass each row once"):
        rank_rows([row(1, 0.5), row(1, 0.6)], Feasibility.MEAN)
    short = dataclasses.replace(
        row(2, 0.5).score, draws=ScoreDraws(np.zeros(3), np.zeros(3), np.zeros(3))
    )
    with pytest.raises(
        ValueError, match=r"rows have \[3, 200\] draws; differences need the same number"
    ):
        rank_rows([row(1, 0.5), Candidate(2, short, 1, 0.0)], Feasibility.MEAN)
    assert rank_rows([], Feasibility.MEAN) == []


def test_near_copies_cost_the_rank_however_many_policies_there_are():
    near = NearCopy(4, 1, 3, 0.001, Origin.OWN)
    again = dataclasses.replace(near, submission=9, origin=Origin.EARLIER_SEASON)
    found = rank_rows(
        [
            row(1, 0.9, copies=CopyFindings(5, (near,))),
            row(2, 0.8, policies=10, copies=CopyFindings(10, (near,))),  # nine distinct ones
            row(3, 0.7, copies=CopyFindings(5)),
            row(4, 0.6),  # not compared
            row(5, 0.5, copies=CopyFindings(5, (again,))),
        ],
        Feasibility.MEAN,
    )
    assert {one.candidate.id: (one.rank, one.preview) for one in found} == {
        3: (1, False), 4: (2, False), 5: (3, False), 1: (None, True), 2: (None, True),
    }  # fmt: skip
