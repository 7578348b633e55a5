"""The numbers of a row, computed once from a submission's episodes and kept in the store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STATISTICS_VERSION = 2  # raise it when a formula changes: older rows are then computed again


@dataclass(frozen=True)
class Interval:
    """A statistic with its two-sided 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Spans:
    """Largest minus smallest episode of each policy; numbers are rounded by them."""

    values: tuple[float, ...]  # (k,) discounted as the board declares
    plain: tuple[float, ...]  # (k,) undiscounted


@dataclass(frozen=True)
class CostStatistics:
    """Statistics of one constraint's episode costs, over the episodes of all policies."""

    name: str
    limit: float
    mean: Interval
    upper_bound: float  # one-sided 95 % bootstrap bound of the mean
    p90: Interval
    p95: Interval
    p95_upper_bound: float  # one-sided 95 % bootstrap bound of P95
    worst: float  # comparable only at equal numbers of episodes
    cvar: Interval  # mean of the worst 5 %
    violation_probability: Interval  # P(C > limit), Wilson's interval
    excess: float  # (mean - limit) / scale
    excess_p95: float  # max(0, P95 - limit) / scale
    plain_mean: float  # undiscounted
    seed_means: tuple[float, ...]  # (k,)
    quantiles: tuple[float, ...]  # (101,) at 0, 1, ..., 100 percent of all episodes
    spans: Spans | None = None  # None in what is published before the episodes


@dataclass(frozen=True)
class RowStatistics:
    """The numbers of one row."""

    policies: int  # k
    episodes: int  # of each policy
    score: Interval  # interquartile mean over policies of the normalized mean return
    mean_return: Interval
    plain_mean_return: float
    mean_length: float
    seed_returns: tuple[float, ...]  # (k,)
    seed_lengths: tuple[float, ...]  # (k,)
    return_quantiles: tuple[float, ...]  # (101,)
    costs: tuple[CostStatistics, ...]  # (m,)
    spans: Spans | None = None  # of the returns; None in what is published before the episodes
    length_spans: tuple[float, ...] = ()  # (k,) of the lengths, likewise empty
    version: int = STATISTICS_VERSION


@dataclass(frozen=True)
class ScoreDraws:
    """Bootstrap draws; draw r resamples the same policies and episodes in every row."""

    score: np.ndarray  # (resamples,)
    excess: np.ndarray  # (resamples,) largest (mean - limit) / scale of the constraints
    excess_p95: np.ndarray  # (resamples,) the same for P95


@dataclass(frozen=True)
class RowScore:
    """A submission's numbers, and the draws that its rank interval is computed from."""

    statistics: RowStatistics
    draws: ScoreDraws
