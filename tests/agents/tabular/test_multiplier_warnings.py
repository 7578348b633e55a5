"""Multipliers that stay at their cap, or grow in vain, are reported once and with what to do."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from agents.tabular import (
    MultiplierCapWarning,
    MultiplierGrowthWarning,
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
from agents.tabular.multiplier_warnings import smallest_value
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.random_cmdp import random_cmdp

CAPPED = [npg_pd, rpg_pd, npg_dd, reload_pd, ppo_lag, lin_npg_pd, lin_reload, lin_ppo_lag]
LOG_LINEAR = [lin_npg_pd, lin_reload, lin_ppo_lag]
CMDP = random_cmdp(10, 3, constraints=2, seed=4)
OPTIMUM = linear_program(CMDP)
PRICES = OPTIMUM.multipliers / own_units(CMDP).multipliers  # in own units


def warnings_of(solver, *arguments, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver(*arguments, **settings)
    assert all(warning.filename == __file__ for warning in caught)  # where the solver was called
    return [(warning.category, str(warning.message)) for warning in caught]


def one_hot(solver):
    return {"features": "one_hot"} if solver in (*LOG_LINEAR, ppqa_alm) else {}


@pytest.mark.parametrize("unit", [1.0, 40.0])
@pytest.mark.parametrize("solver", CAPPED)
def test_a_cap_below_the_optimal_multipliers_is_reported_in_real_units(solver, unit):
    cmdp = random_cmdp(10, 3, constraints=1, seed=4)
    cmdp = replace(cmdp, reward=unit * cmdp.reward)
    best, price = linear_program(cmdp).multipliers[0], own_units(cmdp).multipliers[0]
    cap = 0.5 * best / price
    settings = {"multiplier_cap": cap, "dual_step_size": 1.0, **one_hot(solver)}
    [(category, message)] = warnings_of(solver, cmdp, 300, **settings)
    assert category is MultiplierCapWarning
    assert message.startswith(
        "during the last 60 of 300 evaluations the multiplier of 'cost_0' was at its cap, "
        f"{0.5 * best:.4g} (argument multiplier_cap={cap:g}), with a violation of "
    )
    assert message.endswith("the optimal multiplier is probably larger; raise multiplier_cap")


def test_only_the_constraint_at_its_cap_is_named():
    low, high = PRICES.argmin(), PRICES.argmax()
    cap = 0.5 * (PRICES[low] + PRICES[high])
    [(category, message)] = warnings_of(reload_pd, CMDP, 1_000, multiplier_cap=cap)
    assert category is MultiplierCapWarning
    assert f"'cost_{high}'" in message
    assert f"'cost_{low}'" not in message


@pytest.mark.parametrize("solver", CAPPED)
def test_a_cap_above_the_optimal_multipliers_is_not_reported(solver):
    settings = {"multiplier_cap": 2.0 * PRICES.max(), "dual_step_size": 1.0, **one_hot(solver)}
    assert warnings_of(solver, CMDP, 300, **settings) == []


@pytest.mark.parametrize("solver", CAPPED)
def test_a_few_evaluations_at_the_cap_say_nothing_yet(solver):
    settings = {"multiplier_cap": 1e-6, **one_hot(solver)}
    assert warnings_of(solver, CMDP, 4, **settings) == []


@pytest.mark.parametrize("cap", [1e6, 50.0])
@pytest.mark.parametrize("solver", LOG_LINEAR)
def test_features_without_a_feasible_policy_are_reported(solver, cap):
    """Only the uniform policy, V_c 0.6976 > 0.175: the price grows up to its cap, in vain."""
    same_for_all_actions = np.ones((21, 4, 1))
    settings = {"features": same_for_all_actions, "dual_step_size": 1.0, "multiplier_cap": cap}
    [(category, message)] = warnings_of(solver, cliff_world_model(), 200, **settings)
    assert category is MultiplierGrowthWarning
    reached = min(cap, 199 * 0.52257377)
    assert message.startswith(
        f"the multipliers have grown to {reached:.4g} and the violation stays"
    )
    assert "violation stays at 0.5226 ('chasm'): every feasible policy would do better" in message


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (2.0**-20, 1.0, 2.0**20)])
def test_a_stall_is_judged_constraint_by_constraint_in_its_own_units(factors):
    """Of the uniform policy, the last two costs exceed their limits, the first does not."""
    cliff = cliff_world_model(per_constraint=True)
    uniform = cliff.evaluate(cliff.uniform_policy()).costs
    limits = uniform * [1.1, 0.9, 0.9]
    scales = np.array(factors)
    cmdp = replace(cliff, costs=scales[:, None, None] * cliff.costs, limits=scales * limits)
    settings = {"features": np.ones((21, 4, 1)), "multiplier_cap": 1e9, "dual_step_size": 100.0}
    [(category, message)] = warnings_of(lin_npg_pd, cmdp, 100, **settings)
    assert category is MultiplierGrowthWarning
    names = ", ".join(map(repr, cliff.constraint_names[1:]))
    assert f"({names}): every feasible policy would do better" in message


@pytest.mark.parametrize(
    ("solver", "settings"),
    [
        (npg_pd, {"step_size": 1e-9}),
        (rpg_pd, {"step_size": 1e-9}),
        (npg_dd, {"step_size": 1e-9}),
        (reload_pd, {"step_size": 1e-9}),
        (ppo_lag, {"step_size": 1e-9}),
        (lin_npg_pd, {"step_size": 1e-9}),
        (lin_reload, {"step_size": 1e-9}),
        (lin_ppo_lag, {"step_size": 1e-9}),
        (pqa_alm, {"step_rule": "fixed", "step_size": 1e-9}),
        (ppqa_alm, {"step_size": 1e-9}),
    ],
)
def test_steps_too_small_to_move_are_reported(solver, settings):
    capped = {"multiplier_cap": 1e6, "dual_step_size": 1.0} if solver in CAPPED else {}
    [(category, _)] = warnings_of(solver, cliff_world_model(), 200, **settings, **capped)
    assert category is MultiplierGrowthWarning


def test_smallest_value_is_that_of_value_iteration():
    values = np.zeros(CMDP.num_states)
    for _ in range(400):  # 0.9^400 = 5e-19
        values = (CMDP.reward + CMDP.discount * CMDP.P @ values).min(axis=1)
    assert smallest_value(CMDP) == pytest.approx(float(CMDP.initial @ values), rel=1e-12)
