"""The board over all environments: one line per algorithm of an account.

Each line is a matrix of normalized returns, five training seeds by N environments. A column is
zero, the return of random actions, if the algorithm has no ranked row in that environment or its
row is violating or invalid. Lines are ordered by the number of feasible environments, then by the
interquartile mean of the matrix, so no return makes up for a violation; the zeros only affect the
order of entries with equally many feasible environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import trim_mean

from baselines.measures.statistics import TRIMMED, interquartile_mean, probability_of_improvement
from leaderboard.boards.board import RANKED_POLICIES, Board
from leaderboard.scores.ranked_row import Tier
from leaderboard.scores.ranking import rank_intervals
from leaderboard.scores.row_score import Interval, RowStatistics

RESAMPLES = 2000
RESAMPLING_SEED = 20_211_204
TWO_SIDED = (0.025, 0.975)
COUNTED = (Tier.SAFE, Tier.FEASIBLE)


@dataclass(frozen=True, order=True)
class Entry:
    """The account and algorithm whose rows make one line."""

    account: str
    algorithm: str


@dataclass(frozen=True)
class EnvironmentResult:
    """An entry's latest ranked row in one environment; the best of many would reward luck."""

    tier: Tier
    statistics: RowStatistics | None  # None if the submission is invalid


@dataclass(frozen=True)
class AggregateScore:
    """One line of the board."""

    entry: Entry
    rank: int  # 1 is best
    rank_interval: tuple[int, int]  # 95 %, see `aggregate_scores`
    feasible: int  # environments
    environments: int  # N
    score: Interval  # interquartile mean of the matrix
    environment_scores: tuple[float, ...]  # (N,) interquartile mean of each column
    matrix: np.ndarray  # (seeds, N) normalized returns, read-only


def aggregate_scores(
    entries: Mapping[Entry, Mapping[str, EnvironmentResult]], boards: Sequence[Board]
) -> list[AggregateScore]:
    """Return the board's lines, best first; ties are ordered by name.

    The rank interval leaves out entries that are clearly above or below: they are ranked so, and
    the 95 % interval of the paired differences of interquartile means is entirely on that side. The
    feasibility of each environment is taken as measured.

    Args:
        entries: results by environment id; a preview (fewer than five policies) counts as missing.
        boards: of the N environments, in the order of the columns.

    Raises:
        ValueError: if there is no board, or a result belongs to an environment without one.
    """
    _check(entries, boards)
    found = []
    for entry, results in entries.items():
        columns = [normalized_returns(board, results.get(board.env)) for board in boards]
        feasible = sum(column is not None for column in columns)
        found.append((entry, feasible, _matrix(columns)))
    found.sort(key=lambda line: (-line[1], -interquartile_mean(line[2]), line[0]))
    draws = [
        resampled_means(matrix, np.random.default_rng(RESAMPLING_SEED)) for _, _, matrix in found
    ]
    intervals = _rank_intervals(draws)
    return [
        AggregateScore(
            entry=entry,
            rank=place + 1,
            rank_interval=intervals[place],
            feasible=feasible,
            environments=len(boards),
            score=_interval(matrix, draws[place]),
            environment_scores=tuple(interquartile_mean(column) for column in matrix.T),
            matrix=matrix,
        )
        for place, (entry, feasible, matrix) in enumerate(found)
    ]


def normalized_returns(board: Board, result: EnvironmentResult | None) -> np.ndarray | None:
    """Return normalized mean returns of the first five policies, None if the row counts as zero.

    All columns need the same number of seeds; otherwise an environment with more seeds would have
    more weight. The first five policies in the order of submission count, not the best five.

    Args:
        board: of the row's environment.
        result: None if the entry has no row there.

    Returns:
        Shape (5,).
    """
    if result is None or result.statistics is None or result.tier not in COUNTED:
        return None
    returns = result.statistics.seed_returns
    if len(returns) < RANKED_POLICIES:
        return None
    return np.array([board.normalized(value) for value in returns[:RANKED_POLICIES]])


def resampled_means(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return interquartile means of 2000 resamples; seeds are drawn with replacement per column.

    Their quantiles are the interval of
    `baselines.measures.statistics.stratified_bootstrap_interval` from the same random numbers,
    with all resamples at once. With five seeds it is too short (see there).
    Source: Agarwal et al. 2021, section 4.1.

    Args:
        matrix: shape (seeds, N).
        rng: draws the seeds; the same draws for all entries make differences paired.

    Returns:
        Shape (2000,).
    """
    draws = rng.integers(len(matrix), size=(RESAMPLES, *matrix.shape))
    resampled = np.take_along_axis(matrix[None], draws, axis=1)  # (resamples, seeds, N)
    means: np.ndarray = trim_mean(resampled.reshape(RESAMPLES, -1), TRIMMED, axis=1)
    return means


def improvement(first: AggregateScore, second: AggregateScore) -> float:
    """Return the probability that a seed of the first entry beats a seed of the second.

    It is the mean over environments of the Mann-Whitney statistic, with ties counted as half; an
    environment that counts as zero for both is a tie.

    Args:
        first: one line of the board.
        second: another line of it.
    """
    return probability_of_improvement(first.matrix, second.matrix)


def _matrix(columns: list[np.ndarray | None]) -> np.ndarray:
    """Return the columns side by side, shape (5, N), read-only."""
    zero = np.zeros(RANKED_POLICIES)
    matrix = np.stack([zero if column is None else column for column in columns], axis=1)
    matrix.setflags(write=False)
    return matrix


def _interval(matrix: np.ndarray, draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, TWO_SIDED)
    return Interval(interquartile_mean(matrix), float(low), float(high))


def _rank_intervals(draws: list[np.ndarray]) -> list[tuple[int, int]]:
    if not draws:
        return []
    value = np.stack(draws)  # (entries, resamples)
    return rank_intervals(value, value, np.zeros(len(value)))


def _check(
    entries: Mapping[Entry, Mapping[str, EnvironmentResult]], boards: Sequence[Board]
) -> None:
    if not boards:
        raise ValueError("there are no boards; pass at least one, such as boards().values()")
    known = {board.env for board in boards}
    for entry, results in entries.items():
        unknown = sorted(set(results) - known)
        if unknown:
            raise ValueError(
                f"{entry.algorithm!r} of {entry.account!r} has a result in {unknown[0]!r}; the "
                f"boards are {', '.join(sorted(known))}; pass results for these only"
            )
