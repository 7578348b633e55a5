"""The summary of an evaluation against NumPy and SciPy, and what it shows."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from scipy import stats

from agents.evaluation_result import EvaluationResult
from safe_envs import ConstraintSpec

LIMITS = (ConstraintSpec("speed", 2.0), ConstraintSpec("height", 5.0, 0.9))


def result_of(returns, costs, plain_costs=None, constraints=LIMITS):
    returns, costs = np.array(returns, float), np.array(costs, float)
    count = len(returns)
    return EvaluationResult(
        constraints=constraints,
        reward_discount=1.0,
        seed=3,
        deterministic=False,
        returns=returns,
        costs=costs,
        plain_returns=returns,
        plain_costs=costs if plain_costs is None else np.array(plain_costs, float),
        lengths=np.arange(1, count + 1),
        truncated=np.arange(count) % 2 == 0,
    )


RNG = np.random.default_rng(0)
COSTS = RNG.exponential(2.0, (40, 2))
RESULT = result_of(RNG.normal(size=40), COSTS, COSTS * 2.0)


def test_means_and_violation():
    assert RESULT.episodes == 40
    assert RESULT.mean_return == pytest.approx(sum(RESULT.returns) / 40)
    assert RESULT.mean_costs == pytest.approx([sum(COSTS[:, 0]) / 40, sum(COSTS[:, 1]) / 40])
    assert RESULT.mean_plain_costs == pytest.approx(2.0 * RESULT.mean_costs)
    assert RESULT.violation == pytest.approx(RESULT.mean_costs - np.array([2.0, 5.0]))
    assert RESULT.mean_length == 20.5
    assert RESULT.constraint_names == ["speed", "height"]
    for tails, column in zip(RESULT.cost_tails, COSTS.T, strict=True):
        ordered = np.sort(column)
        assert tails.worst == ordered[-1]
        assert tails.cvar == pytest.approx(ordered[-4:].mean())  # the worst tenth of 40
        assert tails.p95 == pytest.approx(np.percentile(column, 95))


@pytest.mark.parametrize(
    ("costs", "feasible"),
    [([2.0, 5.0], True), ([2.01, 0.0], False), ([0.0, 5.01], False), ([0.0, 0.0], True)],
)
def test_feasible_if_no_mean_is_above_its_limit(costs, feasible):
    spread = np.array([[-0.5, 0.25], [0.5, -0.25]])
    assert result_of([0.0, 0.0], np.array(costs) + spread).feasible == feasible


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_upper_bounds_are_those_of_the_one_sided_t_test(confidence):
    bounds = RESULT.cost_upper_bounds(confidence)
    for column, bound in zip(COSTS.T, bounds, strict=True):
        test = stats.ttest_1samp(column, bound, alternative="less")
        assert test.pvalue == pytest.approx(1.0 - confidence)


def test_upper_bounds_hold_as_often_as_they_say():
    draws = np.random.default_rng(1).normal(3.0, 2.0, (4000, 5, 1))
    one = (ConstraintSpec("cost", 2.0),)
    covered = [
        result_of(np.zeros(5), d, constraints=one).cost_upper_bounds(0.9) >= 3 for d in draws
    ]
    assert np.mean(covered) == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 4000))


def test_confidence_out_of_range():
    for confidence in (0.0, 1.0, 95):
        with pytest.raises(ValueError, match=f"confidence is {confidence}; pass a number between"):
            RESULT.cost_upper_bounds(confidence)
    with pytest.raises(ValueError, match="with 1 episode, .* at least 2 episodes"):
        result_of([1.0], [[1.0, 1.0]]).cost_upper_bounds(0.9)


def test_nothing_can_be_changed_by_mistake():
    with pytest.raises(ValueError, match="read-only"):
        RESULT.costs[0, 0] = 0.0
    with pytest.raises(FrozenInstanceError):
        RESULT.returns = np.zeros(3)
    COSTS[0, 0] += 0.0  # the caller's own array is as it was
    tighter = replace(RESULT, constraints=tuple(replace(one, limit=0.1) for one in LIMITS))
    assert (RESULT.feasible, tighter.feasible) == (RESULT.mean_costs[0] <= 2.0, False)


def test_table_and_line():
    result = result_of([1.0, 3.0], [[1.0, 4.0], [2.0, 8.0]], [[1.0, 5.0], [2.0, 9.0]])
    lines = str(result).splitlines()
    assert lines[0] == "2 stochastic episodes, seed 3: not feasible"
    assert lines[1].split() == ["mean", "+-", "limit", "P90", "P95", "CVaR", "90", "worst"]
    rows = {line.rsplit("  ", 30)[0].strip(): line.split() for line in lines[2:-1]}
    assert rows["return"] == ["return", "2", "1"]
    assert rows["speed"] == ["speed", "1.5", "0.5", "2", "1.9", "1.95", "2", "2"]
    assert rows["height"] == ["height", "6", "2", "5", "7.6", "7.8", "8", "8"]
    assert rows["height, undiscounted"][-2:] == ["7", "2"]
    assert rows["length"] == ["length", "1.5", "0.5"]
    assert len(rows) == 5
    assert lines[-1] == "1 of 2 ended by a time limit"
    line = "EvaluationResult: 2 episodes, return 2, speed 1.5 (limit 2), height 6 (limit 5): "
    assert repr(result) == line + "not feasible"
    assert "1 stochastic episode, " in str(result_of([1.0], [[1.0, 1.0]]))
