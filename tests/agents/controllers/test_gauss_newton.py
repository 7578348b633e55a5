"""Gauss-Newton plans against optima found by other means."""

import numpy as np
import pytest
from scipy.optimize import minimize

from agents.controllers.gauss_newton import GaussNewton, condensed
from agents.controllers.ipopt import Ipopt
from agents.controllers.quadrotor_prediction import Linearization
from agents.controllers.tracking_problem import TrackingProblem
from safe_envs.quadrotor.dynamics import step
from safe_envs.quadrotor.reference import FIGURE_EIGHTS
from safe_envs.quadrotor.task import EFFORT_WEIGHT
from safe_envs.quadrotor.vehicle import CRAZYFLIE, VEHICLES


def problem(horizon, vehicle=VEHICLES["crazyflie"]):
    return TrackingProblem(vehicle, FIGURE_EIGHTS["crazyflie"], horizon)


def disturbed_state(time, size, seed):
    """A state off the reference, so that some thrusts are at their bounds."""
    rng = np.random.default_rng(seed)
    point = FIGURE_EIGHTS["crazyflie"].at(time)
    attitude = np.array([1.0, *(0.2 * size * rng.normal(size=3))])
    return np.concatenate(
        (
            point.position + 0.2 * size * rng.normal(size=3),
            point.velocity + 0.5 * size * rng.normal(size=3),
            attitude / np.linalg.norm(attitude),
            size * rng.normal(size=3),
        )
    )


def converged(planner, state, targets, steps=25):
    plan = planner.problem.first_guess(state, targets)
    for _ in range(steps):
        plan = planner.improved(state, targets, plan)
    return plan


def test_condensing_solves_the_recursion():
    rng = np.random.default_rng(0)
    count = 6
    by_state, by_thrusts = rng.normal(size=(count, 13, 13)), rng.normal(size=(count, 13, 4))
    gaps, change = rng.normal(size=(count, 13)), rng.normal(size=(count, 4))
    answer = condensed(Linearization(gaps, by_state, by_thrusts), gaps)
    x = np.zeros(13)
    for k in range(count):
        x = by_state[k] @ x + by_thrusts[k] @ change[k] + gaps[k]
        assert answer[k, :, 0] + answer[k, :, 1:] @ change.ravel() == pytest.approx(x)


LOADED = CRAZYFLIE.with_payload(0.004, (0.012, 0.008, -0.03))  # off-center


@pytest.mark.parametrize(
    ("seed", "vehicle"), [(0, CRAZYFLIE), (1, CRAZYFLIE), (2, CRAZYFLIE), (0, LOADED)]
)
def test_short_plans_are_the_optima_of_a_general_solver(seed, vehicle):
    """L-BFGS-B over the thrusts, the states rolled out by the environment's integrator."""
    task, time = problem(4, vehicle), 0.7
    state, targets = disturbed_state(time, 1.0, seed), task.targets(time)
    weights, hover = task.weights, np.tile(task.vehicle.hover_thrusts, 4)

    def cost(flat):
        x, total = tuple(state), 0.0
        for k, u in enumerate(flat.reshape(4, 4)):
            x = step(task.vehicle, x, u.tolist(), task.time_step, substeps=1)
            total += weights[k] @ (np.array(x) - targets[k]) ** 2
        return total + EFFORT_WEIGHT * ((flat - hover) ** 2).sum()

    plan = converged(GaussNewton(task), state, targets)
    found = minimize(
        cost, hover, method="L-BFGS-B", bounds=[(0.0, 1.0)] * 16,
        options={"ftol": 1e-14, "gtol": 1e-8, "maxiter": 2000},
    )  # fmt: skip
    assert cost(plan.thrusts.ravel()) <= found.fun + 1e-8
    assert plan.thrusts.ravel() == pytest.approx(found.x, abs=1e-3)
    reached = tuple(state)
    for k in range(4):
        reached = step(task.vehicle, reached, plan.thrusts[k].tolist(), 0.05, substeps=1)
        assert plan.states[k + 1] == pytest.approx(np.array(reached), abs=1e-8)


@pytest.mark.parametrize(
    ("size", "seed", "vehicle"),
    [(0.0, 0, CRAZYFLIE), (1.0, 2, CRAZYFLIE), (1.5, 2, CRAZYFLIE), (1.0, 2, LOADED)],
)
def test_plans_are_those_of_ipopt(size, seed, vehicle):
    pytest.importorskip("casadi")
    task, time = problem(20, vehicle), 2.1
    state, targets = disturbed_state(time, size, seed), task.targets(time)
    plan = converged(GaussNewton(task), state, targets)
    optimum = Ipopt(task).improved(state, targets, task.first_guess(state, targets))
    assert plan.thrusts == pytest.approx(optimum.thrusts, abs=1e-4)
    assert plan.states == pytest.approx(optimum.states, abs=1e-4)
    if size >= 1.0:
        assert min(plan.thrusts.min(), 1.0 - plan.thrusts.max()) < 1e-9  # at a bound
