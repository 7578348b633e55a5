"""Solvers and the linear program do not depend on the units of reward and costs."""

from dataclasses import replace

import numpy as np
import pytest

from agents.tabular import (
    lin_npg_pd,
    lin_ppo_lag,
    lin_reload,
    linear_program,
    npg_dd,
    npg_pd,
    own_units,
    ppo_lag,
    ppqa_alm,
    pqa_alm,
    reload_pd,
    rpg_pd,
)
from agents.tabular.linear_program import least_cost
from agents.tabular.own_units import in_units
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.model import TabularCMDP
from safe_envs.tabular.random_cmdp import random_cmdp

SOLVERS = [
    (pqa_alm, {}),
    (pqa_alm, {"step_rule": "fixed"}),
    (npg_pd, {}),
    (rpg_pd, {}),
    (npg_dd, {}),
    (npg_dd, {"step_size": 0.5}),
    (reload_pd, {}),
    (ppo_lag, {}),  # step_size 1.0 would amplify rounding errors tenfold every ten evaluations
    (ppqa_alm, {"features": "one_hot", "penalty": 3.0, "projection_steps": 20}),
    (lin_npg_pd, {"features": "one_hot"}),
    (lin_npg_pd, {"features": "one_hot", "entropy_coefficient": 0.01}),
    (lin_reload, {"features": "one_hot"}),
    (lin_ppo_lag, {"features": "one_hot"}),
]
THREE = random_cmdp(7, 3, constraints=3, seed=11)
HARD = random_cmdp(15, 3, constraints=2, seed=1002)  # fixed absolute settings fail at other scales


def scaled(cmdp, reward, *costs):
    """The problem with its reward, and each cost with its limit, multiplied by these numbers."""
    factors = np.array(costs)
    return replace(
        cmdp,
        reward=reward * cmdp.reward,
        costs=factors[:, None, None] * cmdp.costs,
        limits=factors * cmdp.limits,
    )


def in_real_units(trace, reward, *costs):
    """What the rows of the unscaled problem become in the scaled one."""
    factors = np.array(costs)
    return (
        reward * trace.value,
        factors * trace.violation,
        reward / factors * trace.multipliers,
        trace.policy,
    )


@pytest.mark.parametrize(("solver", "arguments"), SOLVERS)
def test_powers_of_two_change_no_bit(solver, arguments):
    reference = solver(THREE, 200, **arguments)
    for factors in [
        (2.0**10, 1.0, 1.0, 1.0),
        (2.0**-10, 2.0**-10, 2.0**10, 2.0**3),
        (2.0**30, 2.0**200, 2.0**-200, 1.0),
    ]:
        trace = solver(scaled(THREE, *factors), 200, **arguments)
        rows = trace.value, trace.violation, trace.multipliers, trace.policy
        for found, expected in zip(rows, in_real_units(reference, *factors), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert reference.multipliers.max() > 0.0  # a limit matters, so a cost's unit does


@pytest.mark.parametrize(("solver", "arguments"), SOLVERS)
def test_other_factors_change_nothing_but_rounding(solver, arguments):
    reference, factors = solver(THREE, 100, **arguments), (40.0, 1e3, 3e-6, 7.0)
    trace = solver(scaled(THREE, *factors), 100, **arguments)
    rows = trace.value, trace.violation, trace.multipliers, trace.policy
    for found, expected in zip(rows, in_real_units(reference, *factors), strict=True):
        scale = np.abs(expected).max(axis=0)
        assert (np.abs(found - expected) <= 1e-9 * scale).all()


@pytest.mark.parametrize(("solver", "arguments"), SOLVERS)
def test_a_constant_in_every_reward_and_cost_changes_nothing_but_rounding(solver, arguments):
    total = 1.0 / (1.0 - THREE.discount)
    moved = replace(
        THREE,
        reward=THREE.reward - 50.0,
        costs=THREE.costs + 3.0,
        limits=THREE.limits + 3.0 * total,
    )
    reference, trace = solver(THREE, 60, **arguments), solver(moved, 60, **arguments)
    # The reward that counts as zero is now the largest one instead of the smallest.
    np.testing.assert_allclose(trace.value, reference.value - 50.0 * total, rtol=0, atol=1e-9)
    np.testing.assert_allclose(trace.violation, reference.violation, rtol=0, atol=1e-9)
    np.testing.assert_allclose(trace.multipliers, reference.multipliers, rtol=0, atol=1e-9)
    np.testing.assert_allclose(trace.policy, reference.policy, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("solver", "arguments"), SOLVERS)
def test_rows_are_in_the_units_of_the_given_problem(solver, arguments):
    cmdp = scaled(THREE, 40.0, 1e-3, 1e3, 1.0)
    trace = solver(cmdp, 30, **arguments)
    last = cmdp.evaluate(trace.policy)
    assert trace.value[-1] == pytest.approx(last.value, rel=1e-12)
    np.testing.assert_allclose(trace.violation[-1], last.costs - cmdp.limits, rtol=1e-9)


@pytest.mark.parametrize(
    ("reward", "cost"), [(1.0, 1.0), (40.0, 10.0), (0.003, 1000.0), (0.003, 100.0)]
)
def test_pqa_alm_converges_in_all_units(reward, cost):
    cmdp = scaled(HARD, reward, cost, cost)
    optimum, trace = linear_program(cmdp), pqa_alm(cmdp, 6_000)
    tail = slice(-1_200, None)
    assert np.abs(trace.value[tail] - optimum.value).max() < 1e-9 * reward
    assert trace.violation[tail].max() < 1e-9 * cost
    expected = np.array([0.37299307, 0.54410266]) * reward / cost
    assert trace.multipliers[-1] == pytest.approx(expected, rel=1e-7)
    assert optimum.multipliers == pytest.approx(expected, rel=1e-7)


def test_pqa_alm_converges_with_a_limit_of_zero_beside_another_one():
    """Progress of each constraint is judged by its own limit."""
    cmdp = random_cmdp(22, 3, constraints=2, seed=652)
    costs, limits = cmdp.costs.copy(), np.array([0.0, (cmdp.limits[1] + 8.0) / 2.0])
    costs[0, :, 0] = 0.0
    cmdp = replace(cmdp, costs=costs, limits=limits)
    assert pqa_alm(cmdp, 4_000).tail_error(linear_program(cmdp).value) < 1e-9


def test_settings_in_the_units_of_the_problem():
    """With units="given" settings are as in a paper; with "own" they are converted by hand."""
    cmdp = scaled(random_cmdp(7, 3, constraints=1, seed=5), 40.0, 0.02)
    units = own_units(cmdp)
    r, c = units.reward, units.costs[0]
    settings = {"step_size": 0.01, "dual_step_size": 1e4, "multiplier_cap": 500.0}
    given = npg_pd(cmdp, 50, units="given", **settings)
    assert given.multipliers.max() == 500.0
    converted = {
        "step_size": 0.01 * r,
        "dual_step_size": 1e4 * c**2 / r,
        "multiplier_cap": 500.0 * c / r,
    }
    own = npg_pd(cmdp, 50, **converted)
    np.testing.assert_allclose(own.policy, given.policy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(own.multipliers, given.multipliers, rtol=1e-9, atol=1e-6)

    fixed = {"step_rule": "fixed", "primal_steps": 5}
    given = pqa_alm(cmdp, 50, units="given", step_size=0.01, penalty=300.0, **fixed)
    own = pqa_alm(cmdp, 50, step_size=0.01 * r, penalty=300.0 * c**2 / r, **fixed)
    np.testing.assert_allclose(own.policy, given.policy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(own.multipliers, given.multipliers, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("solver", "arguments"), SOLVERS)
def test_other_unit_names_are_refused(solver, arguments):
    with pytest.raises(ValueError, match="units is 'meters'; pass one of 'own', 'given'"):
        solver(THREE, 5, units="meters", **arguments)


def two_states(reward, costs, limits):
    return TabularCMDP(
        P=np.full((2, 2, 2), 0.5),
        reward=reward,
        costs=costs,
        initial=[0.5, 0.5],
        discount=0.75,
        limits=limits,
    )


@pytest.mark.parametrize(
    ("table", "zero", "unit"),
    [
        ([[0.0, 3.0], [1.0, 2.0]], 0.0, 3.0),
        ([[-5.0, 3.0], [1.0, 2.0]], 0.0, 5.0),
        ([[7.0, 5.0], [6.0, 9.0]], 5.0, 4.0),
        ([[-7.0, -5.0], [-6.0, -9.0]], -5.0, 4.0),
        ([[-7.0, -7.0], [-7.0, -7.0]], 0.0, 7.0),
        ([[7.0, 7.0 + 1e-14], [7.0, 7.0]], 0.0, 7.0 + 1e-14),  # rounding is not a difference
        ([[0.0, 0.0], [0.0, 0.0]], 0.0, 1.0),
    ],
)
def test_own_units_by_hand(table, zero, unit):
    cmdp = two_states(table, [table, [[0.0, 0.0], [0.0, 0.0]]], [0.0, 20.0])
    units = own_units(cmdp)
    assert (units.zero_reward, units.reward) == (zero, unit)
    assert (units.zero_costs[0], units.costs[0]) == (zero, unit)
    assert (units.zero_costs[1], units.costs[1]) == (0.0, 20.0)  # no cost, so that of the limit
    own = in_units(cmdp, units)
    np.testing.assert_allclose(own.reward, (np.array(table) - zero) / unit)
    np.testing.assert_allclose(own.limits, [-4.0 * zero / unit, 1.0])
    assert np.abs(own.reward).max() <= 1.0


def test_a_problem_in_its_own_units_is_itself():
    cliff = cliff_world_model()
    assert in_units(cliff, own_units(cliff)) is cliff


def test_limits_far_beyond_every_cost_stay_finite():
    cmdp = two_states([[0.0, 1.0], [0.0, 1.0]], [[[0.0, 1e-200], [0.0, 0.0]]], [1e200])
    assert linear_program(cmdp).value == pytest.approx(4.0)
    assert pqa_alm(cmdp, 20).value[-1] == pytest.approx(4.0)


@pytest.mark.parametrize("factors", [(1e6, 1.0, 1.0), (1e6, 1e-6, 1e6), (1e-6, 1e-6, 1e-6)])
@pytest.mark.parametrize("seed", range(6))
def test_linear_program_in_all_units(factors, seed):
    """HiGHS's absolute tolerances made it give up on rewards x 1e6 in one problem of six."""
    cmdp = random_cmdp(5 + 6 * seed, 3, constraints=2, seed=seed)
    optimum, found = linear_program(cmdp), linear_program(scaled(cmdp, *factors))
    reward, costs = factors[0], np.array(factors[1:])
    assert found.value == pytest.approx(reward * optimum.value, rel=1e-9)
    np.testing.assert_allclose(found.costs, costs * optimum.costs, rtol=1e-9)
    np.testing.assert_allclose(found.multipliers, reward / costs * optimum.multipliers, rtol=1e-7)
    least = [least_cost(cmdp, i) for i in range(2)]
    scaled_least = [least_cost(scaled(cmdp, *factors), i) for i in range(2)]
    np.testing.assert_allclose(scaled_least, costs * least, rtol=1e-9)


def test_linear_program_with_large_constants():
    moved = replace(HARD, reward=HARD.reward + 1e5, costs=HARD.costs + 1e3)
    moved = replace(moved, limits=HARD.limits + 1e4)
    optimum, found = linear_program(HARD), linear_program(moved)
    assert found.value - 1e6 == pytest.approx(optimum.value, abs=1e-7)
    np.testing.assert_allclose(found.multipliers, optimum.multipliers, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_summary_judges_rounding_by_the_size_of_the_cost(factor):
    cmdp = scaled(random_cmdp(7, 3, constraints=1, seed=5), 1.0, factor)
    trace = pqa_alm(cmdp, 600)
    assert "(feasible)" in repr(trace)
    nearly = replace(trace, violation=trace.violation + 1e-7 * factor)
    assert "(not feasible)" in repr(nearly)
