"""Statistics against hand-computed values, SciPy, and a printed half width of the ALM paper."""

import math

import numpy as np
import pytest
from scipy import stats

from agents.cost_tails import cost_tails
from baselines.measures.statistics import (
    feasibility_rate,
    holm_adjusted,
    interquartile_mean,
    joint_permutation_p_value,
    normal_half_width,
    paired_interval,
    performance_profile,
    permutation_p_value,
    probability_of_improvement,
    standard_error,
    stratified_bootstrap_interval,
    violation_probability,
)


def test_interquartile_mean_by_hand():
    scores = np.array([[100.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, -100.0]])
    assert interquartile_mean(scores) == (3 + 4 + 5 + 6) / 4
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 3.0, -50.0])) == 2.0


def test_interquartile_mean_is_a_mean_over_runs_not_over_tasks():
    scores = np.arange(12.0).reshape(3, 4) ** 2
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores.ravel(), 0.25))
    assert interquartile_mean(scores) == interquartile_mean(scores.T)


def test_the_interval_is_that_of_scipy():
    rng = np.random.default_rng(3)
    scores = rng.gamma(2.0, size=(12, 3))
    ours = stratified_bootstrap_interval(scores, np.mean, rng=rng, resamples=20_000)
    theirs = stats.bootstrap(  # its samples, one per task, are resampled by themselves
        tuple(scores.T),
        lambda *tasks, axis: np.mean([t.mean(axis=axis) for t in tasks], axis=0),
        n_resamples=20_000,
        method="percentile",
        random_state=np.random.default_rng(4),
    ).confidence_interval
    np.testing.assert_allclose(ours, [theirs.low, theirs.high], atol=0.03 * np.ptp(ours))


def test_seeds_are_resampled_within_their_task():
    """Tasks of constant score leave nothing to chance, however far apart they are."""
    scores = np.tile([0.0, 10.0, 1000.0], (5, 1))
    interval = stratified_bootstrap_interval(
        scores, np.mean, rng=np.random.default_rng(0), resamples=50
    )
    np.testing.assert_array_equal(interval, np.full(2, 1010.0 / 3.0))


def test_seeds_of_one_task_are_drawn_without_regard_to_the_other():
    """The rows (0, 1) and (1, 0) sum to 1; drawn together, the sum could not vary."""
    scores = np.tile([[0.0, 1.0], [1.0, 0.0]], (5, 1))
    low, high = stratified_bootstrap_interval(
        scores, lambda x: float(x.sum(axis=1).mean()), rng=np.random.default_rng(0), resamples=500
    )
    assert low < 0.75
    assert high > 1.25


def test_the_interval_of_a_normal_mean_covers_it():
    """30 seeds: the exact coverage of the percentile interval is near 94 %."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = stratified_bootstrap_interval(
            rng.normal(2.0, 3.0, size=(30, 1)), np.mean, rng=rng, resamples=200
        )
        hits += low <= 2.0 <= high
    assert stats.binomtest(hits, 200, 0.935).pvalue > 0.01


def test_the_interval_has_the_width_of_the_normal_one():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=400)
    low, high = stratified_bootstrap_interval(scores, np.mean, rng=rng, resamples=4000)
    assert (high - low) / 2 == pytest.approx(normal_half_width(scores), rel=0.05)


def test_same_generator_same_interval():
    scores = np.random.default_rng(0).normal(size=(5, 2))
    first, second = (
        stratified_bootstrap_interval(
            scores, interquartile_mean, rng=np.random.default_rng(7), resamples=100
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_profile_by_hand_counts_what_is_strictly_above():
    scores = np.array([[0.0, 1.0], [1.0, 2.0]])
    thresholds = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(
        performance_profile(scores, thresholds), [1.0, 0.75, 0.75, 0.25, 0.0]
    )


def test_profile_is_the_survival_function_of_scipy():
    scores = np.random.default_rng(0).integers(0, 9, size=(6, 4)).astype(float)
    thresholds = np.linspace(-1, 10, 45)
    expected = stats.ecdf(scores.ravel()).sf.evaluate(thresholds)
    np.testing.assert_allclose(performance_profile(scores, thresholds), expected, atol=1e-15)


def test_a_statistic_may_be_a_row():
    scores = np.random.default_rng(0).normal(size=(10, 2))
    thresholds = np.array([-9.0, 0.0, 9.0])
    band = stratified_bootstrap_interval(
        scores,
        lambda x: performance_profile(x, thresholds),
        rng=np.random.default_rng(0),
        resamples=200,
    )
    assert band.shape == (2, 3)
    np.testing.assert_array_equal(band[:, [0, 2]], [[1.0, 0.0], [1.0, 0.0]])
    assert band[0, 1] < performance_profile(scores, thresholds)[1] < band[1, 1]


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert probability_of_improvement(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == 1.5 / 4
    same = np.array([[1.0, 5.0], [1.0, 6.0]])
    assert probability_of_improvement(same, same) == 0.5


def test_probability_of_improvement_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, size=(7, 3)).astype(float)
    second = rng.integers(0, 6, size=(5, 3)).astype(float)
    expected = stats.mannwhitneyu(first, second, axis=0).statistic.mean() / 35
    assert probability_of_improvement(first, second) == pytest.approx(expected, abs=1e-15)
    opposite = probability_of_improvement(second, first)
    assert probability_of_improvement(first, second) + opposite == pytest.approx(1.0)


def test_a_seed_on_the_limit_is_feasible():
    assert feasibility_rate(np.array([24.0, 25.0, 25.1, 90.0]), 25.0) == 0.5
    assert violation_probability(np.array([[24.0, 25.0], [25.1, 90.0]]), 25.0) == 0.5


def test_a_seed_is_feasible_if_every_constraint_holds():
    costs = np.array([[1.0, 9.0], [1.0, 3.0], [5.0, 3.0]])
    assert feasibility_rate(costs, (2.0, 4.0)) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match=r"limit has 1 entries .* 2 constraints; .* pass 2"):
        feasibility_rate(costs, 2.0)


def test_published_half_width():
    """CPO on HalfCheetah is printed as 6.18 +- 31.42.

    Its two worst seeds are 68.6 and 1.2; the other three sum to -38.9 and are at most 1.2. Over
    all such seeds our half width reaches 31.42, and the usual other candidates do not.
    """
    rest = 5 * 6.18 - 68.60 - 1.20
    seeds = [
        np.array([68.60, 1.20, largest, (rest - largest) / 2 + gap, (rest - largest) / 2 - gap])
        for largest in np.linspace(rest / 3, 1.20, 30)
        for gap in np.linspace(0.0, (3 * largest - rest) / 2, 30)
    ]
    widths = np.array([normal_half_width(s) for s in seeds])
    assert widths.min() < 31.42 < widths.max()
    deviations = np.array([np.std(s, ddof=1) for s in seeds])
    student = stats.t.ppf(0.975, 4)
    for factor in (1.0, math.sqrt(4 / 5), 1 / math.sqrt(5), student / math.sqrt(5)):
        others = factor * deviations
        assert not others.min() < 31.42 < others.max()


def test_half_width_by_hand():
    assert normal_half_width(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(
        1.96 * math.sqrt(5 / 3) / 2
    )


@pytest.mark.parametrize(
    "call",
    [
        interquartile_mean,
        lambda x: performance_profile(x, np.zeros(1)),
        lambda x: performance_profile(np.zeros(3), x),
        lambda x: probability_of_improvement(x, np.zeros(3)),
        lambda x: feasibility_rate(x, 1.0),
        lambda x: violation_probability(x, 1.0),
        cost_tails,
        normal_half_width,
        lambda x: paired_interval(x, x),
        lambda x: stratified_bootstrap_interval(x, np.mean, rng=np.random.default_rng(0)),
    ],
)
def test_bad_arrays_are_refused_by_all(call):
    with pytest.raises(ValueError, match=r"is empty, shape \(0,\); allowed: .*; pass"):
        call(np.zeros(0))
    with pytest.raises(ValueError, match=r"2 entries .* index \(1,\); .* finite; leave"):
        call(np.array([1.0, np.nan, 2.0, np.inf]))
    with pytest.raises(ValueError, match=r"has shape \(1, 1, 2\); allowed: .*; reshape"):
        call(np.zeros((1, 1, 2)))


def test_other_refusals():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"there is 1 seed; an interval needs at least 2; run"):
        stratified_bootstrap_interval(np.zeros((1, 4)), np.mean, rng=rng)
    with pytest.raises(ValueError, match=r"there is 1 seed; a standard deviation needs"):
        normal_half_width(np.zeros(1))
    with pytest.raises(ValueError, match=r"confidence is 95; it must be between 0 and 1"):
        stratified_bootstrap_interval(np.zeros(3), np.mean, rng=rng, confidence=95)
    with pytest.raises(ValueError, match=r"resamples is 0; at least 1"):
        stratified_bootstrap_interval(np.zeros(3), np.mean, rng=rng, resamples=0)
    with pytest.raises(ValueError, match=r"first has 2 tasks and second 1; both need"):
        probability_of_improvement(np.zeros((3, 2)), np.zeros(3))


def test_permutation_p_values_by_counting():
    low, high = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([6.0, 7.0, 8.0, 9.0, 10.0])
    assert permutation_p_value(high, low) == pytest.approx(2 / 252)  # the most extreme split
    assert permutation_p_value(low, high) == pytest.approx(2 / 252)
    assert permutation_p_value(low, low) == 1.0
    # Of the six splits of 0, 1, 2, 4 into pairs, {2, 4} and {1, 4} have differences >= 1.5.
    assert permutation_p_value(np.array([1.0, 4.0]), np.array([0.0, 2.0])) == pytest.approx(4 / 6)
    with pytest.raises(ValueError, match="a permutation test needs at least 2"):
        permutation_p_value(np.array([1.0]), low)


def test_holm_adjustment_of_a_textbook_example():
    # At the level 0.05: 0.005 <= 0.05 / 4 and 0.01 <= 0.05 / 3 are rejected, 0.03 > 0.05 / 2 not.
    adjusted = holm_adjusted([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_the_joint_test_of_one_pair_is_the_exact_test():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(4, 1)), rng.normal(size=(4, 1)) + 1.0
    exact = stats.permutation_test(
        (first[:, 0], second[:, 0]),
        lambda a, b: abs(a.mean() - b.mean()),
        alternative="greater",
        n_resamples=np.inf,
    ).pvalue
    joint = joint_permutation_p_value([(first, second)], rng, draws=40_000)
    assert joint == pytest.approx(exact, abs=0.01)


def test_the_joint_test_adds_up_small_differences():
    rng = np.random.default_rng(6)
    noise = [(rng.normal(size=(5, 2)), rng.normal(size=(5, 2))) for _ in range(40)]
    shifted = [(first + 0.8, second) for first, second in noise]
    assert joint_permutation_p_value(shifted, rng) < 0.001
    assert joint_permutation_p_value(noise, rng) > 0.05
    constant = [(np.ones((5, 1)), np.ones((5, 1)))]
    assert joint_permutation_p_value(constant, rng) == 1.0
    with pytest.raises(ValueError, match="as many seeds of the same quantities"):
        joint_permutation_p_value([(np.ones((5, 1)), np.ones((4, 1)))], rng)


def test_the_paired_interval_is_that_of_the_t_test():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 12))
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    mean, half_width = interval = paired_interval(ours, theirs)
    assert mean - half_width == pytest.approx(expected.low)
    assert mean + half_width == pytest.approx(expected.high)
    assert (interval.low, interval.high) == (mean - half_width, mean + half_width)
    assert interval.excludes_zero == (expected.low > 0.0 or expected.high < 0.0)
    with pytest.raises(ValueError, match="there is 1 pair; an interval needs at least 2"):
        paired_interval(ours[:1], theirs[:1])
    with pytest.raises(ValueError, match="ours has 12 entries and theirs 11"):
        paired_interval(ours, theirs[1:])


def test_the_standard_error_is_that_of_scipy():
    values = np.random.default_rng(3).normal(size=7)
    assert standard_error(values) == pytest.approx(stats.sem(values))
    assert normal_half_width(values) == pytest.approx(1.96 * stats.sem(values))
    with pytest.raises(ValueError, match="there is 1 seed"):
        standard_error(values[:1])
