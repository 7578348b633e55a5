"""Statistics over seeds, tasks and episodes: one array in, one number or row of numbers out.

The data contract is one array shape. Scores of finished runs are (seeds, tasks), or (seeds,) for
a single task; costs are (seeds,) if each seed is already a mean, or (seeds, episodes). A failed
seed is not a number and is refused: it must be reported, not averaged away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import permutation_test, trim_mean
from scipy.stats import t as student

from agents.cost_tails import finite_values

TRIMMED = 0.25  # cut off at either end by the interquartile mean
NORMAL_QUANTILE = 1.96  # two-sided 95 %


def interquartile_mean(scores: np.ndarray) -> float:
    """Return the mean of the middle half of all scores, regardless of seed and task.

        IQM = mean of x_(k+1), ..., x_(n-k),   n = seeds * tasks,   k = floor(n / 4)

    Source: Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical
    Precipice, section 4.3.

    Args:
        scores: shape (seeds,) or (seeds, tasks).

    Raises:
        ValueError: if scores is empty, not finite, or of another shape.
    """
    return float(trim_mean(_matrix("scores", scores), TRIMMED, axis=None))


def stratified_bootstrap_interval(
    scores: np.ndarray,
    statistic: Callable[[np.ndarray], float | np.ndarray],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> np.ndarray:
    """Return the percentile interval (low, high) of a statistic, seeds resampled within each task.

    Every resample draws all seeds with replacement, separately for each task.
    low and high are the (1 - confidence) / 2 and (1 + confidence) / 2 quantiles of the statistic.
    Source: Agarwal et al. 2021, section 4.1; 2000 resamples are the default of their profiles.
    With few seeds the interval is too narrow: for the mean of normal scores, 5 seeds cover 83 %
    and 10 seeds 90 % instead of 95 %.

    Args:
        scores: shape (seeds,) or (seeds, tasks), at least two seeds.
        statistic: of a matrix (seeds, tasks); a number or an array (k,).
        rng: draws the seeds.
        confidence: between 0 and 1.
        resamples: number of resamples.

    Returns:
        Shape (2,), or (2, k) if the statistic is an array (k,).

    Raises:
        ValueError: if scores is refused, has only one seed, or a setting is out of range.
    """
    matrix = _matrix("scores", scores)
    _at_least_two_seeds(len(matrix), "an interval")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must be between 0 and 1; pass 0.95")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; at least 1 is needed; pass 2000")
    draws = [
        statistic(np.take_along_axis(matrix, rng.integers(len(matrix), size=matrix.shape), axis=0))
        for _ in range(resamples)
    ]
    tails = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
    return np.quantile(np.asarray(draws), tails, axis=0)


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return the fraction of all runs that score above each threshold.

        F(threshold) = (1 / (seeds * tasks)) * #{(n, m): x_nm > threshold}

    Source: Agarwal et al. 2021, section 4.2 (the run-score distribution).

    Args:
        scores: shape (seeds,) or (seeds, tasks).
        thresholds: shape (k,).

    Returns:
        Shape (k,).

    Raises:
        ValueError: if an argument is empty, not finite, or of another shape.
    """
    ordered = np.sort(_matrix("scores", scores), axis=None)
    levels = finite_values("thresholds", thresholds, "(thresholds,)", (1,))
    return 1.0 - np.searchsorted(ordered, levels, side="right") / ordered.size


def probability_of_improvement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the probability that a run of the first agent beats a run of the second.

        P = (1 / tasks) * sum_m U_m / (seeds_first * seeds_second),
        U_m = #{(i, j): first_im > second_jm} + #{(i, j): first_im = second_jm} / 2

    U_m is the Mann-Whitney statistic of task m. Source: Agarwal et al. 2021, section 4.3.

    Args:
        first: shape (seeds,) or (seeds, tasks); larger is better.
        second: the same tasks; the number of seeds may differ.

    Raises:
        ValueError: if an argument is refused, or the numbers of tasks differ.
    """
    ours, theirs = _matrix("first", first), _matrix("second", second)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"first has {ours.shape[1]} tasks and second {theirs.shape[1]}; both need the same "
            "tasks in the same order; pass the tasks that both agents finished"
        )
    differences = ours[:, None, :] - theirs[None, :, :]  # (seeds_first, seeds_second, tasks)
    return float(np.mean((np.sign(differences) + 1.0) / 2.0))


def feasibility_rate(seed_costs: np.ndarray, limit: float | Sequence[float]) -> float:
    """Return the fraction of the seeds whose mean cost is within the limit for every constraint.

        rate = (1 / seeds) * #{n: c_ni <= limit_i for all i}

    Args:
        seed_costs: mean episode cost, shape (seeds,), or (seeds, m) for m constraints.
        limit: a number, or m of them.

    Raises:
        ValueError: if seed_costs is refused, or the number of limits is not m.
    """
    costs = finite_values("seed_costs", seed_costs, "(seeds,) or (seeds, m)", (1, 2))
    costs = costs[:, None] if costs.ndim == 1 else costs  # (seeds, m)
    limits = finite_values("limit", np.atleast_1d(limit), "(m,)", (1,))
    if len(limits) != costs.shape[1]:
        raise ValueError(
            f"limit has {len(limits)} entries but seed_costs has {costs.shape[1]} constraints; "
            f"each constraint has its own limit; pass {costs.shape[1]} numbers"
        )
    return float(np.mean((costs <= limits).all(axis=1)))


def violation_probability(costs: np.ndarray, limit: float) -> float:
    """Return the fraction of the episodes (or seeds) that cost more than the limit.

    Args:
        costs: shape (seeds,) or (seeds, episodes).
        limit: of the episode cost.

    Raises:
        ValueError: if costs is refused or limit is not finite.
    """
    values = finite_values("costs", costs, "(seeds,) or (seeds, episodes)", (1, 2))
    return float(np.mean(values > finite_values("limit", np.asarray(limit), "()", (0,))))


def permutation_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p value of the exact permutation test of equal means.

        p = min(1, 2 min(P(D <= d), P(D >= d))),   d = mean of first - mean of second

    D takes every split of all values into groups of the two sizes, each with equal probability: two
    groups of 5 seeds have 252 splits, so that no p value is below 2 / 252. The groups are not
    paired: 5 pairs have only 32 exchanges, and no p value below 2 / 32.

    Args:
        first: shape (seeds,), at least two.
        second: shape (seeds,), at least two; the number of seeds may differ.

    Raises:
        ValueError: if an argument is refused.
    """
    groups = [
        finite_values(name, values, "(seeds,)", (1,))
        for name, values in (("first", first), ("second", second))
    ]
    _at_least_two_seeds(min(map(len, groups)), "a permutation test")

    def difference(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(ours.mean(axis=axis) - theirs.mean(axis=axis))

    tested = permutation_test(groups, difference, vectorized=True, n_resamples=np.inf)
    return float(tested.pvalue)


def holm_adjusted(p_values: Sequence[float]) -> np.ndarray:
    """Return p values adjusted for their number: reject those at or below the level.

        adjusted_(i) = max over j <= i of min(1, (n - j + 1) p_(j)),   p_(1) <= ... <= p_(n)

    Then the probability of any wrong rejection is at most the level, however the tests depend on
    each other. Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.

    Args:
        p_values: of n tests, shape (n,).

    Returns:
        Shape (n,), in the same order.
    """
    given = finite_values("p_values", np.asarray(p_values), "(tests,)", (1,))
    order = np.argsort(given, kind="stable")
    adjusted = np.empty(len(given))
    factors = np.arange(len(given), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * given[order]), 1.0)
    return adjusted


def joint_permutation_p_value(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator, draws: int = 10_000
) -> float:
    """Return the p value of one test for any difference of means, in several pairs of groups.

        T = sum over pairs and quantities of abs(mean of first - mean of second) / s

    s is the standard deviation of both groups together; a quantity without any deviation adds
    nothing. Every draw splits each pair's seeds anew, for all of its quantities in the same way,
    and p = (1 + #{draws with T at least as large}) / (1 + draws). Small differences in many
    quantities add up here, whereas Holm's correction asks for a large one.

    Args:
        pairs: of groups of equally many seeds, both (seeds, quantities), at least two seeds.
        rng: draws the splits.
        draws: number of them.

    Raises:
        ValueError: if a pair is refused.
    """
    observed, drawn = 0.0, np.zeros(draws)
    for first, second in pairs:
        statistics = _split_statistics(_matrix("first", first), _matrix("second", second))
        observed += statistics[0]
        drawn += statistics[rng.integers(len(statistics), size=draws)]
    at_least = np.count_nonzero(drawn >= observed * (1.0 - 1e-12))  # whatever the sums' rounding
    return float((1 + at_least) / (1 + draws))


def _split_statistics(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the sum over quantities of scaled differences for every split, the given one first."""
    if first.shape != second.shape:
        raise ValueError(
            f"first is {first.shape} and second {second.shape}; pass as many seeds of the same "
            "quantities"
        )
    seeds = len(first)
    _at_least_two_seeds(seeds, "a permutation test")
    values = np.concatenate((first, second))  # (2 seeds, quantities)
    deviations = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviations > 0.0, deviations, 1.0)
    splits = np.array(list(combinations(range(2 * seeds), seeds)))  # (splits, seeds)
    sums = sum(scaled[splits[:, k]] for k in range(seeds))  # (splits, quantities)
    return np.asarray(2.0 / seeds * np.abs(sums).sum(axis=1))  # the others' sum is the negative


def normal_half_width(seed_values: np.ndarray) -> float:
    """Return half the width of the normal 95 % interval of the mean, the +- of result tables.

        1.96 * s / sqrt(seeds),   s = standard deviation with seeds - 1 in the denominator

    Args:
        seed_values: shape (seeds,), at least two.

    Raises:
        ValueError: if seed_values is refused or has only one entry.
    """
    return NORMAL_QUANTILE * standard_error(seed_values)


class MeanInterval(NamedTuple):
    """A mean with its 95 % confidence interval, mean +- half_width."""

    mean: float
    half_width: float

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return abs(self.mean) > self.half_width


def paired_interval(ours: np.ndarray, theirs: np.ndarray) -> MeanInterval:
    """Return the mean of ours - theirs over pairs with Student's 95 % interval.

        half width = t_{0.975, pairs - 1} s / sqrt(pairs)

    Pairs are runs of the same seed, or flights from the same start.

    Args:
        ours: shape (pairs,), at least two.
        theirs: the same pairs in the same order.

    Raises:
        ValueError: if an argument is refused, or the numbers of pairs differ.
    """
    first, second = (
        finite_values(name, values, "(pairs,)", (1,))
        for name, values in (("ours", ours), ("theirs", theirs))
    )
    count = len(first)
    if len(second) != count:
        raise ValueError(
            f"ours has {count} entries and theirs {len(second)}; each is compared with the other "
            "of its pair; pass the same pairs in the same order"
        )
    if count < 2:
        raise ValueError(f"there is {count} pair; an interval needs at least 2; run more pairs")
    difference = first - second
    width = student.ppf(0.975, count - 1) * standard_error(difference)
    return MeanInterval(float(difference.mean()), float(width))


def standard_error(seed_values: np.ndarray) -> float:
    """Return the standard error of the mean over seeds, s / sqrt(seeds).

    Args:
        seed_values: shape (seeds,), at least two.

    Raises:
        ValueError: if seed_values is refused or has only one entry.
    """
    values = finite_values("seed_values", seed_values, "(seeds,)", (1,))
    _at_least_two_seeds(len(values), "a standard deviation")
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _matrix(name: str, scores: np.ndarray) -> np.ndarray:
    """Return scores as a finite matrix (seeds, tasks)."""
    array = finite_values(name, scores, "(seeds,) or (seeds, tasks)", (1, 2))
    return array[:, None] if array.ndim == 1 else array


def _at_least_two_seeds(seeds: int, purpose: str) -> None:
    if seeds < 2:
        raise ValueError(f"there is {seeds} seed; {purpose} needs at least 2; run more seeds")
