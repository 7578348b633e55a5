"""Every solver refuses arguments out of range and says what came and what is allowed."""

import numpy as np
import pytest

from agents.tabular import (
    lin_npg_pd,
    lin_ppo_lag,
    lin_reload,
    npg_dd,
    npg_pd,
    ppo_lag,
    ppqa_alm,
    pqa_alm,
    reload_pd,
    rpg_pd,
)
from safe_envs.tabular.cliff_world import cliff_world_model

CLIFF = cliff_world_model()
PRIMAL_DUAL = [npg_pd, rpg_pd, npg_dd, reload_pd, ppo_lag, lin_npg_pd, lin_reload, lin_ppo_lag]
LOG_LINEAR = [ppqa_alm, lin_npg_pd, lin_reload, lin_ppo_lag]
STARTING_FROM_A_POLICY = [npg_pd, rpg_pd, npg_dd, reload_pd, ppo_lag]


@pytest.mark.parametrize("solver", [*PRIMAL_DUAL, ppqa_alm, pqa_alm])
@pytest.mark.parametrize("step_size", [0.0, -1.0, np.inf, np.nan])
def test_step_size_has_to_be_positive(solver, step_size):
    with pytest.raises(ValueError, match=f"^step_size is {step_size}; pass a positive number"):
        solver(CLIFF, 10, step_size=step_size)


@pytest.mark.parametrize("solver", PRIMAL_DUAL)
@pytest.mark.parametrize("name", ["dual_step_size", "multiplier_cap"])
def test_dual_numbers_have_to_be_positive(solver, name):
    with pytest.raises(ValueError, match=f"^{name} is 0.0; pass a positive number"):
        solver(CLIFF, 10, **{name: 0.0})


@pytest.mark.parametrize("solver", [*PRIMAL_DUAL, ppqa_alm])
def test_budget_has_to_allow_one_evaluation(solver):
    with pytest.raises(ValueError, match="^evaluations is 0; pass a whole number >= 1"):
        solver(CLIFF, 0)


@pytest.mark.parametrize(
    ("solver", "name"),
    [
        (npg_dd, "primal_steps"),
        (ppo_lag, "gradient_steps"),
        (lin_ppo_lag, "gradient_steps"),
        (ppqa_alm, "primal_steps"),
        (ppqa_alm, "projection_steps"),
    ],
)
@pytest.mark.parametrize("count", [0, -3, 2.5])
def test_counts_have_to_be_whole_and_positive(solver, name, count):
    with pytest.raises(ValueError, match=f"^{name} is {count}; pass a whole number >= 1"):
        solver(CLIFF, 10, **{name: count})


@pytest.mark.parametrize("solver", [ppo_lag, lin_ppo_lag])
@pytest.mark.parametrize("clip", [0.0, 1.0, -0.2, np.nan])
def test_clip_range(solver, clip):
    with pytest.raises(ValueError, match=rf"^clip is {clip}; pass a number in \(0, 1\)"):
        solver(CLIFF, 10, clip=clip)


@pytest.mark.parametrize("solver", [rpg_pd, npg_dd])
def test_regularized_solvers_need_an_entropy_coefficient(solver):
    with pytest.raises(ValueError, match="^entropy_coefficient is 0.0; pass a positive number"):
        solver(CLIFF, 10, entropy_coefficient=0.0)


def test_log_linear_entropy_coefficient_may_be_zero_but_not_less():
    with pytest.raises(ValueError, match="^entropy_coefficient is -0.1; pass a number >= 0"):
        lin_npg_pd(CLIFF, 10, entropy_coefficient=-0.1)


@pytest.mark.parametrize(
    ("solver", "arguments", "message"),
    [
        (rpg_pd, {"step_size": 20.0, "entropy_coefficient": 0.1}, "^step_size .* is 2; it must"),
        (rpg_pd, {"dual_step_size": 20.0, "entropy_coefficient": 0.1}, "^dual_step_size .* is 2;"),
        (npg_dd, {"step_size": 2.0, "entropy_coefficient": 0.1}, "must be <= 1, otherwise"),
        (lin_npg_pd, {"step_size": 20.0, "entropy_coefficient": 0.1}, "^step_size .* is 2; it"),
    ],
)
def test_regularized_steps_that_overshoot(solver, arguments, message):
    with pytest.raises(ValueError, match=message):
        solver(CLIFF, 10, **arguments)


def test_penalty_has_to_be_positive():
    with pytest.raises(ValueError, match="^penalty is -1.0; pass a positive number"):
        ppqa_alm(CLIFF, 10, penalty=-1.0)


@pytest.mark.parametrize("solver", STARTING_FROM_A_POLICY)
def test_start_has_to_be_a_policy_without_zeros(solver):
    with pytest.raises(ValueError, match=r"of shape \(3, 4\) is not a policy .* shape \(21, 4\)"):
        solver(CLIFF, 10, initial_policy=np.full((3, 4), 0.25))
    deterministic = np.eye(4)[np.zeros(21, dtype=int)]
    with pytest.raises(ValueError, match="initial_policy has 63 entries equal to 0, .* pass prob"):
        solver(CLIFF, 10, initial_policy=deterministic)


@pytest.mark.parametrize("solver", LOG_LINEAR)
@pytest.mark.parametrize("parameters", [np.zeros(3), np.full(200, np.nan)])
def test_start_has_to_have_one_parameter_per_feature(solver, parameters):
    with pytest.raises(ValueError, match=r"there are 200 features; .* of shape \(200,\)"):
        solver(CLIFF, 10, initial_parameters=parameters)
