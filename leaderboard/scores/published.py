"""What the public sees of a row: rounded until its season's secret is revealed, then everything.

Every submission of a season plays the same hidden episodes. Whoever knew the episodes of a row
could fit a policy to them, so until the secret is revealed no page, file or answer has a number
that tells about a single one. `BoardRows` passes every row through this file, and hands out
nothing else.

What must not be recoverable from the numbers of a row:

1. Which episode had which return, cost or length.
2. The return, cost or length of any episode, unless many others have the same; nor the values of
   all episodes together, even if they can only be whole numbers or discounted powers.

How:

- **Means** (of all episodes, of one training seed, of undiscounted sums, of lengths, and the score)
  are multiples of 1, 2 or 5 times a power of ten. The step is at least twice what one episode can
  move the mean: 2 (largest - smallest episode) / n. At least half a step of means look alike, so a
  mean would not give away the last episode to somebody who knew all others. If the interval is
  wide, the step is a quarter of its half width. No number has more than three significant digits.
- **Quantiles** are the tenths and, of costs, P95, in steps of at least a quarter of their 95 %
  interval: several episodes are as close, or equal. CVaR is rounded as a mean of its episodes. The
  worst episode is withheld. A preview has neither quantiles nor tails.
- **P(C > d)** is rounded to steps of two episodes; its interval is that of the rounded number.
- **Differences** of two scores are no finer than the scores. The paired interval of two policies
  that differ in one observation would otherwise show a single episode.
- Ends of intervals are rounded outward. A mean or bound above its limit stays above it, and one
  within the limit stays within it, so that the numbers agree with the tier.

Ranks and tiers are decided by the full numbers, which stay in the store.

What remains is a value that all episodes share; how many episodes have the larger of two possible
costs, since this is the mean (to about one step, sometimes exactly); and what a policy is made to
show. A policy that fails if the first observation is in some region tells whether any hidden
episode starts there, and one that then earns much less tells roughly how many do. A number has
about 20 plausible values, or four bits, and an account has a quota. Submissions that share a policy
say little more about its mean: fifty with other companions left a range of one step (measured).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NewType

import numpy as np

from baselines.measures.statistics import TRIMMED
from leaderboard.boards.board import RANKED_POLICIES, Board
from leaderboard.scores.ranked_row import RankedRow
from leaderboard.scores.rounding_grid import Grid, grid_for, nice_grid
from leaderboard.scores.row_score import (
    CostStatistics,
    Interval,
    RowScore,
    RowStatistics,
    ScoreDraws,
    Spans,
)
from leaderboard.scores.score_json import statistics_from_json
from leaderboard.scores.scoring import CVAR_LEVEL, wilson_interval

PublishedStatistics = NewType("PublishedStatistics", RowStatistics)
"""Numbers that anybody may see; NaN is withheld."""

PublishedRow = NewType("PublishedRow", RankedRow)
"""A row of which anybody may see everything; it has no draws."""

WITHHELD = math.nan
TENTHS = tuple(range(10, 100, 10))  # [percent]
Z = 1.96  # of a two-sided 95 % interval
NO_DRAWS = ScoreDraws(np.empty(0), np.empty(0), np.empty(0))


def exactly(statistics: RowStatistics) -> PublishedStatistics:
    """Return all numbers, for episodes that are public or the caller's own."""
    return PublishedStatistics(statistics)


def rounded(board: Board, statistics: RowStatistics) -> PublishedStatistics:
    """Return the numbers that are public before the episodes are.

    Args:
        board: of the row.
        statistics: of the row, in full.

    Raises:
        ValueError: if they lack the spans that determine the steps.
    """
    policies, each = statistics.policies, statistics.episodes
    spans, lengths = _known(statistics.spans), statistics.length_spans
    mean = _interval(statistics.mean_return, _mean_grid(statistics.mean_return, spans, statistics))
    plain = _sole(statistics.plain_mean_return, max(spans.plain), policies * each)
    if math.isclose(statistics.plain_mean_return, statistics.mean_return.value, rel_tol=1e-9):
        plain = mean.value  # two steps for one number would tell more than either
    return PublishedStatistics(
        replace(
            statistics,
            score=_score(board, statistics, mean),
            mean_return=mean,
            plain_mean_return=plain,
            mean_length=_sole(statistics.mean_length, max(lengths), policies * each),
            seed_returns=_seeds(statistics.seed_returns, spans.values, each, mean.value),
            seed_lengths=_seeds(
                statistics.seed_lengths,
                lengths,
                each,
                _sole(statistics.mean_length, max(lengths), each),
            ),
            return_quantiles=_quantiles(statistics.return_quantiles, statistics),
            costs=tuple(
                _cost(cost, scale, statistics)
                for cost, scale in zip(statistics.costs, board.cost_scales, strict=True)
            ),
            spans=None,
            length_spans=(),
        )
    )


def published_row(row: RankedRow, numbers: PublishedStatistics | None) -> PublishedRow:
    """Return a row with its public numbers in place of the full ones; None if it has no score."""
    score = None if numbers is None else RowScore(numbers, NO_DRAWS)
    return PublishedRow(replace(row, candidate=replace(row.candidate, score=score)))


def numbers_of(row: PublishedRow) -> PublishedStatistics | None:
    """Return the public numbers of a row, None if it has no score."""
    score = row.candidate.score
    return None if score is None else PublishedStatistics(score.statistics)


def rounded_difference(
    board: Board, first: RowScore, second: RowScore, ends: tuple[float, float]
) -> tuple[float, float]:
    """Return the public interval of the second minus the first score, as coarse as the coarser one.

    Args:
        board: of both rows.
        first: in full.
        second: in full.
        ends: of the interval, in full.
    """
    grids = [_score_grid(board, score.statistics) for score in (first, second)]
    grid = max(grids, key=lambda grid: grid.step)
    one, two = (rounded(board, score.statistics).score.value for score in (first, second))
    return min(grid.below(ends[0]), two - one), max(grid.above(ends[1]), two - one)


def is_withheld(number: float) -> bool:
    """Return whether a public number is withheld until the season's secret is revealed."""
    return math.isnan(number)


def published_to_json(statistics: PublishedStatistics) -> dict[str, Any]:
    """Return public numbers as JSON data; null is withheld."""
    data: dict[str, Any] = _without_nan(asdict(statistics))
    return data


def published_from_json(data: dict[str, Any]) -> PublishedStatistics:
    """Return the numbers in the data that `published_to_json` returned.

    Raises:
        ValueError: as `statistics_from_json` does.
    """
    return PublishedStatistics(statistics_from_json(json.dumps(_with_nan(data))))


def _mean_grid(mean: Interval, spans: Spans, row: RowStatistics) -> Grid:
    """Return the grid of a mean over all episodes of a row."""
    return grid_for(
        mean.value,
        supported=(mean.high - mean.low) / 8,
        hidden=2 * max(spans.values) / (row.policies * row.episodes),
    )


def _score_grid(board: Board, row: RowStatistics) -> Grid:
    scale = board.reference_return - board.random_return
    return grid_for(
        row.score.value,
        supported=(row.score.high - row.score.low) / 8,
        hidden=2 * max(_known(row.spans).values) / (scale * _averaged(row) * row.episodes),
    )


def _averaged(row: RowStatistics) -> int:
    """Return the number of policies that the score averages."""
    return row.policies - 2 * int(TRIMMED * row.policies)


def _score(board: Board, row: RowStatistics, mean: Interval) -> Interval:
    """Return the score; if it averages all policies it is that of the public mean return."""
    found = row.score
    if _averaged(row) == row.policies:
        found = Interval(*(board.normalized(value) for value in (mean.value, mean.low, mean.high)))
    return _interval(found, _score_grid(board, row))


def _interval(interval: Interval, grid: Grid, limit: float | None = None) -> Interval:
    """Return an interval with its ends rounded outward."""
    value, low, high = interval.value, grid.below(interval.low), grid.above(interval.high)
    shown = grid.nearest(value) if limit is None else grid.beside(value, limit)
    return Interval(shown, min(low, shown), max(high, shown))


def _sole(value: float, span: float, episodes: int) -> float:
    """Return a mean that has no interval."""
    return grid_for(value, hidden=2 * span / episodes).nearest(value)


def _seeds(
    values: Sequence[float], spans: Sequence[float], episodes: int, mean: float
) -> tuple[float, ...]:
    """Return the means of single policies; of a sole policy, the mean that is public anyway."""
    if len(values) == 1:
        return (mean,)
    return tuple(_sole(v, span, episodes) for v, span in zip(values, spans, strict=True))


def _cost(cost: CostStatistics, scale: float, row: RowStatistics) -> CostStatistics:
    spans, limit, total = _known(cost.spans), cost.limit, row.policies * row.episodes
    grid = _mean_grid(cost.mean, spans, row)
    mean = _interval(cost.mean, grid, limit)
    plain = _sole(cost.plain_mean, max(spans.plain), total)
    if math.isclose(cost.plain_mean, cost.mean.value, rel_tol=1e-9):
        plain = mean.value
    seeds = [
        grid_for(value, hidden=2 * span / row.episodes).beside(value, limit)
        for value, span in zip(cost.seed_means, spans.values, strict=True)
    ]
    found = replace(
        cost,
        mean=mean,
        upper_bound=grid.beside(cost.upper_bound, limit, up=True),
        violation_probability=_share(cost, total),
        excess=(mean.value - limit) / scale,
        plain_mean=plain,
        seed_means=tuple(seeds) if len(seeds) > 1 else (mean.value,),
        worst=WITHHELD,
        spans=None,
    )
    return _with_tails(found, cost, scale, row)


def _share(cost: CostStatistics, total: int) -> Interval:
    """Return the share of episodes above the limit, in steps of at least two episodes."""
    grid = nice_grid(2 / total, (1, 2, 5, 10), up=True)
    value = grid.nearest(cost.violation_probability.value)
    if cost.mean.value > cost.limit:  # then an episode is above it, and the tier says so
        value = max(value, grid.step)
    value = min(value, 1.0)
    of_rounded = wilson_interval(round(value * total), total)
    low, high = grid.below(of_rounded.low), min(grid.above(of_rounded.high), 1.0)
    return Interval(value, min(low, value), max(high, value))


def _with_tails(
    found: CostStatistics, cost: CostStatistics, scale: float, row: RowStatistics
) -> CostStatistics:
    """Return rounded numbers with those of the tails; a preview has none."""
    if row.policies < RANKED_POLICIES:
        none = Interval(WITHHELD, WITHHELD, WITHHELD)
        return replace(
            found,
            p90=none,
            p95=none,
            p95_upper_bound=WITHHELD,
            cvar=none,
            excess_p95=WITHHELD,
            quantiles=(WITHHELD,) * len(cost.quantiles),
        )
    p90 = _interval(cost.p90, grid_for(cost.p90.value, hidden=_width(cost.p90) / 4))
    grid = grid_for(cost.p95.value, hidden=_width(cost.p95) / 4)
    p95 = _interval(cost.p95, grid, cost.limit)
    worst_episodes = (1.0 - CVAR_LEVEL) * row.policies * row.episodes
    cvar = grid_for(
        cost.cvar.value,
        supported=_width(cost.cvar) / 8,
        hidden=2 * (cost.quantiles[100] - cost.quantiles[95]) / worst_episodes,
    )
    return replace(
        found,
        p90=p90,
        p95=p95,
        p95_upper_bound=grid.beside(cost.p95_upper_bound, cost.limit, up=True),
        cvar=_interval(cost.cvar, cvar),
        excess_p95=max(0.0, p95.value - cost.limit) / scale,
        quantiles=_quantiles(cost.quantiles, row, {90: p90.value, 95: p95.value}),
    )


def _quantiles(
    quantiles: Sequence[float], row: RowStatistics, known: Mapping[int, float] | None = None
) -> tuple[float, ...]:
    """Return the tenths and known quantiles, never decreasing, and withhold the others."""
    shown = [WITHHELD] * len(quantiles)
    if row.policies < RANKED_POLICIES:
        return tuple(shown)
    largest = -math.inf
    found = {p: _tenth(quantiles, p, row) for p in TENTHS} | dict(known or {})
    for p, value in sorted(found.items()):
        largest = shown[p] = max(largest, value)
    return tuple(shown)


def _tenth(quantiles: Sequence[float], percent: int, row: RowStatistics) -> float:
    """Return a quantile, rounded by the order statistics at the ends of its 95 % interval."""
    share, total = percent / 100, row.policies * row.episodes
    around = math.ceil(100 * Z * math.sqrt(share * (1 - share) / total))  # [percent]
    width = quantiles[min(percent + around, 100)] - quantiles[max(percent - around, 0)]
    return grid_for(quantiles[percent], hidden=width / 4).nearest(quantiles[percent])


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def _known(spans: Spans | None) -> Spans:
    if spans is None:
        raise ValueError(
            "the statistics have no spans, which determine how far numbers are rounded; score the "
            "stored episodes again"
        )
    return spans


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and math.isnan(data) else data


def _with_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {
            key: None if key == "spans" and value is None else _with_nan(value)
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [_with_nan(value) for value in data]
    return WITHHELD if data is None else data
