"""Computes the numbers of a row from the episodes of a submission.

Every interval is a percentile interval from one two-level bootstrap: a resample draws k of the k
policies with replacement and, for each drawn policy, n of its n episodes. The draws depend on k
and n alone, so resample r of any two rows with equal k and n consists of the same policies and
episodes (common random numbers). The difference of their draws is then paired: episode i of policy
j starts from the same seed in both. (The j-th trainings of two rows have nothing else in common;
pairing them adds noise to the width of the interval but no bias.) Rows with unequal k or n are
resampled independently, and the difference of their draws is unpaired.

Coverage with normally distributed episodes, five policies of a hundred each (measured, +- 2 %): if
all policies are equally good, 98 % of the intervals of a mean contain it, since the noise of the
episodes counts on both levels. If policies differ as much as episodes do, 84 % do (interquartile
mean 88 %) instead of 95 %, and the one-sided bound is above the mean in 89 % of the cases: five
policies say little about others. With one policy the upper level is empty and the intervals cover
only the noise of the episodes. Wilson's interval treats all episodes as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import binomtest

from baselines.measures.statistics import TRIMMED
from leaderboard.boards.board import Board
from leaderboard.scores.row_score import (
    CostStatistics,
    Interval,
    RowScore,
    RowStatistics,
    ScoreDraws,
    Spans,
)
from leaderboard.scores.scored_episodes import ScoredEpisodes

RESAMPLES = 2000
RESAMPLING_SEED = 20_211_204
CVAR_LEVEL = 0.95
ONE_SIDED = 0.95  # confidence of the upper bounds that determine the tier
TWO_SIDED = (0.025, 0.975)


@dataclass(frozen=True)
class _CostDraws:
    """Statistics of one constraint: entry 0 is as measured, the others are of the resamples."""

    mean: np.ndarray  # (1 + resamples,)
    p90: np.ndarray
    p95: np.ndarray
    cvar: np.ndarray


def score_row(board: Board, episodes: ScoredEpisodes) -> RowScore:
    """Return a row's statistics and bootstrap draws; equal episodes give equal bits.

        score = (IQM_j(mean return of policy j) - random) / (reference - random)

    which is the IQM of the normalized returns, since a trimmed mean commutes with linear maps.
    Sources: Agarwal et al. 2021, section 4.3, for the IQM; Davison and Hinkley 1997, Bootstrap
    Methods and their Application, section 3.8, for resampling on both levels.

    Args:
        board: gives limits, cost scales, and the random and reference return.
        episodes: of k policies, n episodes each, m constraints.

    Raises:
        ValueError: if episodes are missing or not finite, or the board does not have m constraints.
    """
    _check(board, episodes)
    indices = resampled_episodes(*episodes.returns.shape)
    score, mean_return = _return_draws(board, episodes.returns, indices)
    cost_draws = [
        _cost_draws(episodes.costs[:, :, i].ravel(), indices) for i in range(len(board.constraints))
    ]
    statistics = _statistics(board, episodes, score, mean_return, cost_draws)
    means = np.stack([draws.mean[1:] for draws in cost_draws])  # (m, resamples)
    tails = np.stack([draws.p95[1:] for draws in cost_draws])
    draws = ScoreDraws(
        score=score[1:],
        excess=_largest_excess(board, means),
        excess_p95=_largest_excess(board, tails),
    )
    return RowScore(statistics=statistics, draws=draws)


@lru_cache(maxsize=4)  # 8 MB for five policies of a hundred episodes
def resampled_episodes(policies: int, episodes: int) -> np.ndarray:
    """Return which episodes each resample consists of; row 0 is the sample itself.

    Args:
        policies: k.
        episodes: n of each policy.

    Returns:
        Read-only, shape (1 + resamples, k * n): the flat index j * n + i of policy j's episode i.
        Columns p * n to (p + 1) * n are the episodes of the p-th drawn policy.
    """
    rng = np.random.default_rng([RESAMPLING_SEED, policies, episodes])
    drawn = rng.integers(policies, size=(RESAMPLES, policies, 1))
    within = rng.integers(episodes, size=(RESAMPLES, policies, episodes))
    indices = np.empty((1 + RESAMPLES, policies * episodes), dtype=np.intp)
    indices[0] = np.arange(policies * episodes)
    indices[1:] = (drawn * episodes + within).reshape(RESAMPLES, -1)
    indices.setflags(write=False)
    return indices


def _return_draws(
    board: Board, returns: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of the score and of the mean return, (1 + resamples,) each.

    The middle policies are added in increasing order, so that the sum does not depend on the
    processor and never decreases when a return increases.
    """
    drawn = returns.ravel()[indices]  # (1 + resamples, k * n)
    policy_means = np.sort(drawn.reshape(len(indices), *returns.shape).mean(axis=2), axis=1)
    cut = int(TRIMMED * len(returns))
    middle = policy_means[:, cut : len(returns) - cut].mean(axis=1)
    score = np.array([board.normalized(value) for value in middle.tolist()])
    return score, _within_range(drawn.mean(axis=1), returns)


def _cost_draws(costs: np.ndarray, indices: np.ndarray) -> _CostDraws:
    """Return mean and tails of all resamples, as `agents.cost_tails` defines them.

    Args:
        costs: shape (k * n,).
        indices: shape (1 + resamples, k * n).
    """
    drawn = costs[indices]  # (1 + resamples, k * n)
    mean = _within_range(drawn.mean(axis=1), costs)
    drawn.sort(axis=1)
    size = costs.size
    weights = np.clip((1.0 - CVAR_LEVEL) * size - np.arange(size)[::-1], 0.0, 1.0)
    first = int(np.argmax(weights > 0.0))  # the tail is drawn[:, first:]
    tail = (drawn[:, first:] * weights[first:]).sum(axis=1) / weights.sum()
    return _CostDraws(
        mean=mean,
        p90=_sorted_quantile(drawn, 0.90),
        p95=_sorted_quantile(drawn, 0.95),
        cvar=_within_range(tail, costs),
    )


def _sorted_quantile(rows: np.ndarray, level: float) -> np.ndarray:
    """Return the quantile of each sorted row, linear between neighbors; exact if they are equal."""
    position = level * (rows.shape[1] - 1)
    below = int(position)
    above = min(below + 1, rows.shape[1] - 1)
    step: np.ndarray = rows[:, above] - rows[:, below]
    return rows[:, below] + (position - below) * step


def _within_range(means: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the means of values, clipped to the values' range to remove rounding errors.

    So the mean of equal costs equals that cost to the last bit, and a cost that is always at the
    limit does not count as above it.
    """
    return np.clip(means, values.min(), values.max())


def _largest_excess(board: Board, costs: np.ndarray) -> np.ndarray:
    """Return max_i (cost_i - limit_i) / scale_i, shape (resamples,), of costs (m, resamples)."""
    limits = np.array([constraint.limit for constraint in board.constraints])
    scales = np.array(board.cost_scales)
    excess: np.ndarray = ((costs - limits[:, None]) / scales[:, None]).max(axis=0)
    return excess


def _statistics(
    board: Board,
    episodes: ScoredEpisodes,
    score: np.ndarray,
    mean_return: np.ndarray,
    cost_draws: list[_CostDraws],
) -> RowStatistics:
    policies, count = episodes.returns.shape
    return RowStatistics(
        policies=policies,
        episodes=count,
        score=_interval(score),
        mean_return=_interval(mean_return),
        plain_mean_return=float(episodes.plain_returns.mean()),
        mean_length=float(episodes.lengths.mean()),
        seed_returns=_floats(episodes.returns.mean(axis=1)),
        seed_lengths=_floats(episodes.lengths.mean(axis=1)),
        return_quantiles=_floats(np.quantile(episodes.returns, np.linspace(0.0, 1.0, 101))),
        costs=tuple(
            _cost_statistics(board, i, episodes, draws) for i, draws in enumerate(cost_draws)
        ),
        spans=Spans(
            _floats(np.ptp(episodes.returns, 1)), _floats(np.ptp(episodes.plain_returns, 1))
        ),
        length_spans=_floats(np.ptp(episodes.lengths, 1).astype(float)),
    )


def _cost_statistics(
    board: Board, index: int, episodes: ScoredEpisodes, draws: _CostDraws
) -> CostStatistics:
    constraint, scale = board.constraints[index], board.cost_scales[index]
    costs = episodes.costs[:, :, index]  # (k, n)
    return CostStatistics(
        name=constraint.name,
        limit=constraint.limit,
        mean=_interval(draws.mean),
        upper_bound=float(np.quantile(draws.mean[1:], ONE_SIDED)),
        p90=_interval(draws.p90),
        p95=_interval(draws.p95),
        p95_upper_bound=float(np.quantile(draws.p95[1:], ONE_SIDED)),
        worst=float(costs.max()),
        cvar=_interval(draws.cvar),
        violation_probability=wilson_interval(int((costs > constraint.limit).sum()), costs.size),
        excess=float((draws.mean[0] - constraint.limit) / scale),
        excess_p95=float(max(0.0, draws.p95[0] - constraint.limit) / scale),
        plain_mean=float(episodes.plain_costs[:, :, index].mean()),
        seed_means=_floats(costs.mean(axis=1)),
        quantiles=_floats(np.quantile(costs, np.linspace(0.0, 1.0, 101))),
        spans=Spans(
            _floats(np.ptp(costs, 1)), _floats(np.ptp(episodes.plain_costs[:, :, index], 1))
        ),
    )


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return a proportion with Wilson's 95 % interval.

        (p + z^2 / (2 n) +- z sqrt(p (1 - p) / n + z^2 / (4 n^2))) / (1 + z^2 / n),   z = 1.96

    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.

    Args:
        successes: at most trials.
        trials: n, at least one.
    """
    bounds = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return Interval(successes / trials, float(bounds.low), float(bounds.high))


def _interval(draws: np.ndarray) -> Interval:
    """Return the statistic, entry 0, with the 2.5 % and 97.5 % quantiles of its resamples."""
    low, high = np.quantile(draws[1:], TWO_SIDED)
    return Interval(float(draws[0]), float(low), float(high))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())


def _check(board: Board, episodes: ScoredEpisodes) -> None:
    policies, count, constraints = episodes.costs.shape
    if constraints != len(board.constraints):
        names = ", ".join(constraint.name for constraint in board.constraints)
        raise ValueError(
            f"the episodes have {constraints} costs but {board.env} has {len(board.constraints)} "
            f"constraints ({names}); evaluate with the constraints that the board declares"
        )
    if policies * count == 0:
        raise ValueError(
            f"there are {policies} policies with {count} episodes each; at least one policy with "
            "one episode is needed; evaluate before scoring"
        )
    sums = (episodes.returns, episodes.costs, episodes.plain_returns, episodes.plain_costs)
    if not all(np.isfinite(values).all() for values in sums):
        raise ValueError(
            "a return or cost is NaN or infinite; every sum has to be finite; a submission whose "
            "policy failed is invalid and has no score"
        )
