"""The optimal control problem against the environment's reward and reference."""

import numpy as np
import pytest

from agents.controllers.tracking_problem import FlightPlan, TrackingProblem
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import EFFORT_WEIGHT, stage_cost
from safe_envs.quadrotor.vehicle import VEHICLES


def problem(**kwargs):
    return TrackingProblem(VEHICLES["crazyflie"], FIGURE_EIGHTS["crazyflie"], **kwargs)


def test_weights_make_the_stage_cost_of_the_reward():
    rng = np.random.default_rng(0)
    reference, hover = problem().reference, problem().vehicle.hover_thrusts
    weights = problem(horizon=3, terminal_weight=5.0).weights
    for _ in range(10):
        time, state, u = rng.uniform(0, 6), rng.normal(size=13), rng.uniform(size=4)
        point = reference.at(time)
        target = (*point.position[:2], *point.velocity[:2], reference.height)
        expected = stage_cost(state, target, u, hover)[0]
        aim = problem().targets(time - 0.05)[0]
        effort = EFFORT_WEIGHT * ((u - hover) ** 2).sum()
        assert weights[0] @ (state - aim) ** 2 + effort == pytest.approx(expected)
    assert weights[-1] == pytest.approx(5.0 * weights[0])
    assert (weights[1] == weights[0]).all()


def test_targets_are_the_reference_ahead():
    targets = problem(horizon=7, time_step=0.1).targets(1.3)
    points = problem().reference.at(1.3 + 0.1 * np.arange(1, 8))
    expected = np.concatenate((points.position, points.velocity)).T
    assert targets[:, :6] == pytest.approx(expected)
    assert (targets[:, 6:] == [1, 0, 0, 0, 0, 0, 0]).all()


def test_shifting_by_a_stage_moves_every_stage_to_the_one_before():
    rng = np.random.default_rng(0)
    states, thrusts = rng.normal(size=(6, 13)), rng.uniform(size=(5, 4))
    states[:, 6:10] /= np.linalg.norm(states[:, 6:10], axis=1, keepdims=True)
    plan = FlightPlan(states, thrusts)
    moved = problem(horizon=5).shifted(plan, 0.05)
    assert moved.states[:-1] == pytest.approx(states[1:])
    assert moved.thrusts[:-1] == pytest.approx(thrusts[1:])
    assert moved.thrusts[-1] == pytest.approx(thrusts[-1])
    assert moved.states[-1, :6] == pytest.approx(2.0 * states[-1, :6] - states[-2, :6])
    still = problem(horizon=5).shifted(plan, 0.0)
    assert still.states == pytest.approx(states)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": 0}, "horizon is 0; pass a whole number >= 1"),
        ({"horizon": 2.5}, "horizon is 2.5; pass a whole number"),
        ({"time_step": -0.1}, "time_step is -0.1; pass a positive number"),
        ({"terminal_weight": np.nan}, "terminal_weight is nan; pass a positive number"),
    ],
)
def test_bad_numbers_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        problem(**kwargs)
