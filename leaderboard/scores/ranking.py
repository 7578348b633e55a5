"""Puts the rows of a board in their order.

The order is total: tier, then the tier's value (score; the size of the excess among violating
rows), then smaller tail excess, fewer training steps, earlier submission, smaller id. It does not
depend on the order of the input. Rows without a rank are listed after the ranked ones: previews,
invalid ones, withdrawn ones. They do not count, so they change the rank of no other row.

A row with near-copies among its policies is a preview, however many policies it has: copies of the
best one would count several times in the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leaderboard.boards.board import RANKED_POLICIES
from leaderboard.scores.ranked_row import Candidate, Feasibility, RankedRow, Tier
from leaderboard.scores.row_score import RowScore, ScoreDraws

TAIL = 0.025  # share of the draws beyond each end of a 95 % interval
TIER_ORDER = {tier: place for place, tier in enumerate(Tier)}


def tier_of(score: RowScore | None, feasibility: Feasibility) -> Tier:
    """Return the tier of a row.

        SAFE       value_i <= limit_i and upper_bound_i <= limit_i for all constraints i
        FEASIBLE   value_i <= limit_i for all i
        VIOLATING  otherwise

    where value is the mean cost or its 95th percentile. There is no tolerance: a policy whose
    expected cost is exactly the limit, such as the exact optimum of a tabular environment, is above
    it in about half of all samples. The mean of costs that are the same in every episode has no
    rounding error, so a cost that is always at the limit is SAFE.

    Args:
        score: None if the submission is invalid.
        feasibility: what has to be within the limit.
    """
    if score is None:
        return Tier.INVALID
    costs = score.statistics.costs
    if feasibility is Feasibility.MEAN:
        found = [(cost.mean.value, cost.upper_bound, cost.limit) for cost in costs]
    else:
        found = [(cost.p95.value, cost.p95_upper_bound, cost.limit) for cost in costs]
    if any(value > limit for value, _, limit in found):
        return Tier.VIOLATING
    if any(bound > limit for _, bound, limit in found):
        return Tier.FEASIBLE
    return Tier.SAFE


def rank_rows(candidates: Sequence[Candidate], feasibility: Feasibility) -> list[RankedRow]:
    """Return all candidates in their order, the ranked ones with rank and rank interval.

    Args:
        candidates: of one board, in any order.
        feasibility: what has to be within the limit.

    Raises:
        ValueError: if an id occurs twice or rows have different numbers of draws.
    """
    _check(candidates)
    ordered = sorted(candidates, key=lambda candidate: _order_key(candidate, feasibility))
    tiers = [tier_of(candidate.score, feasibility) for candidate in ordered]
    ranked = [
        (candidate.score.draws, tier)
        for candidate, tier in zip(ordered, tiers, strict=True)
        if candidate.score is not None and _group(candidate) == 0
    ]
    intervals = _tier_intervals(
        [draws for draws, _ in ranked], [tier for _, tier in ranked], feasibility
    )
    return [
        RankedRow(
            candidate=candidate,
            tier=tier,
            preview=_is_preview(candidate),
            rank=place + 1 if place < len(ranked) else None,
            rank_interval=intervals[place] if place < len(ranked) else None,
        )
        for place, (candidate, tier) in enumerate(zip(ordered, tiers, strict=True))
    ]


def rank_intervals(
    value: np.ndarray, safety: np.ndarray, places: np.ndarray
) -> list[tuple[int, int]]:
    """Return the lowest and highest rank that chance may explain, for rows in their order.

        interval_i = (1 + #{j clearly above i}, n - #{j clearly below i})

    j is clearly above i if it is ranked above i and the 95 % interval of the paired differences
    of their draws is entirely on j's side. The draws are those of value within a tier and those of
    safety between tiers. The ends of the interval are order statistics, with floor(0.025 R) of the
    R draws cut off at each end, so it is on j's side if at most that many draws are not.

    The interval contains the rank: the rows clearly above i are among the rank_i - 1 rows above
    it, and those clearly below among the n - rank_i rows below it. (Draws alone are not enough: in
    rare cases they favor the row with the smaller value.) Each pair is tested at 95 % by itself.
    Source: Mogstad, Romano, Shaikh and Wilhelm 2024, Inference for Ranks. Differs from the paper:
    no correction for the number of pairs, so the intervals are shorter than simultaneous ones.

    Args:
        value: draws of n rows in the order of their rank, shape (n, R); larger is better.
        safety: the same for comparing rows of different tiers.
        places: of each row's tier, non-decreasing, shape (n,).
    """
    rows, resamples = value.shape
    needed = resamples - int(TAIL * resamples)  # number of draws that have to agree
    above, below = np.zeros(rows, dtype=int), np.zeros(rows, dtype=int)
    for i in range(rows - 1):
        end = int(np.searchsorted(places, places[i], side="right"))  # of i's tier
        agreeing = np.concatenate(
            [
                np.count_nonzero(value[i] > value[i + 1 : end], axis=1),
                np.count_nonzero(safety[i] > safety[end:], axis=1),
            ]
        )  # (n - i - 1,) draws in which i is above each later row
        clear = agreeing >= needed
        below[i] = clear.sum()
        above[i + 1 :] += clear
    return [(1 + int(a), rows - int(b)) for a, b in zip(above, below, strict=True)]


def _tier_intervals(
    draws: Sequence[ScoreDraws], tiers: Sequence[Tier], feasibility: Feasibility
) -> list[tuple[int, int]]:
    """Return the rank intervals of rows in order.

    Rows of one tier are compared by score, or by excess if both violate. Rows of different tiers
    are compared by excess too: if chance decided the tier, the difference is not clear.
    """
    if not draws:
        return []
    safety = -np.stack([_excess_draws(row, feasibility) for row in draws])  # (n, R)
    violating = np.array([tier is Tier.VIOLATING for tier in tiers])
    value = np.where(violating[:, None], safety, np.stack([row.score for row in draws]))
    return rank_intervals(value, safety, np.array([TIER_ORDER[tier] for tier in tiers]))


def _order_key(candidate: Candidate, feasibility: Feasibility) -> tuple[float, ...]:
    """Return the sort key of a row, smaller first; its last entry is unique."""
    last = (candidate.submitted_at, candidate.id)
    group, tier = _group(candidate), TIER_ORDER[tier_of(candidate.score, feasibility)]
    if candidate.score is None:
        return (group, tier, *last)
    statistics = candidate.score.statistics
    tail = max(cost.excess_p95 for cost in statistics.costs)
    mean = max(cost.excess for cost in statistics.costs)
    excess = (mean, 0.0) if feasibility is Feasibility.MEAN else (tail, mean)
    first = excess if tier == TIER_ORDER[Tier.VIOLATING] else (0.0, 0.0)
    values = (*first, -statistics.score.value, tail, candidate.training_steps)
    return (group, tier, *values, *last)


def _group(candidate: Candidate) -> int:
    """Return 0 for ranked rows, 1 for previews, 2 for invalid and 3 for withdrawn ones."""
    if candidate.withdrawn:
        return 3
    if candidate.score is None:
        return 2
    return 1 if _is_preview(candidate) else 0


def _is_preview(candidate: Candidate) -> bool:
    if candidate.score is None:
        return False
    has_copies = candidate.copies is not None and candidate.copies.copied > 0
    return has_copies or candidate.score.statistics.policies < RANKED_POLICIES


def _excess_draws(draws: ScoreDraws, feasibility: Feasibility) -> np.ndarray:
    return draws.excess if feasibility is Feasibility.MEAN else draws.excess_p95


def _check(candidates: Sequence[Candidate]) -> None:
    ids = [candidate.id for candidate in candidates]
    if len(set(ids)) < len(ids):
        twice = next(id_ for id_ in ids if ids.count(id_) > 1)
        raise ValueError(f"id {twice} occurs twice; pass each row once")
    sizes = {len(row.score.draws.score) for row in candidates if row.score is not None}
    if len(sizes) > 1:
        raise ValueError(
            f"rows have {sorted(sizes)} draws; differences need the same number in all rows; "
            "compute the scores again"
        )
