"""The quadrotor's optimal control problem solved in full by IPOPT, with derivatives by casadi."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from agents.controllers.tracking_problem import FlightPlan, TrackingProblem
from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.task import EFFORT_WEIGHT
from safe_envs.quadrotor.vehicle import GRAVITY, Vehicle

SOLVED = ("Solve_Succeeded", "Solved_To_Acceptable_Level")
TOLERANCE = 1e-8  # of IPOPT, its own default


class Ipopt:
    """Solves the problem with all states and thrusts as unknowns (multiple shooting).

    Args:
        problem: what to solve.

    Raises:
        ImportError: if casadi is not installed.
    """

    def __init__(self, problem: TrackingProblem) -> None:
        self.problem = problem
        self._split = STATE_SIZE * problem.horizon
        self._solve, self._low, self._high = _program(problem)

    def improved(self, state: np.ndarray, targets: np.ndarray, guess: FlightPlan) -> FlightPlan:
        """Return the optimal plan found from a guess.

        Args:
            state: x_0, (13,).
            targets: (N, 13).
            guess: a plan.

        Raises:
            RuntimeError: if IPOPT does not converge.
        """
        start = np.concatenate((guess.states[1:].ravel(), guess.thrusts.ravel()))
        given = np.concatenate((state, targets.ravel()))
        found = self._solve(x0=start, p=given, lbx=self._low, ubx=self._high, lbg=0.0, ubg=0.0)
        status = self._solve.stats()["return_status"]
        if status not in SOLVED:
            raise RuntimeError(
                f"IPOPT ended with {status}; the vehicle may be too far from the reference to fly "
                "back, so start a new episode, or use solver='rti'"
            )
        unknowns = np.array(found["x"])[:, 0]
        states = unknowns[: self._split].reshape(-1, STATE_SIZE)
        thrusts = np.clip(unknowns[self._split :].reshape(-1, 4), 0.0, 1.0)
        return FlightPlan(np.concatenate((state[None], states)), thrusts)


def load_casadi() -> Any:
    """Return the module casadi.

    Raises:
        ImportError: if it is not installed; the error says how to install it.
    """
    try:
        return import_module("casadi")
    except ModuleNotFoundError as error:
        raise ImportError(
            "the solver 'ipopt' needs casadi, which is not installed; run pip install "
            "'safe-envs-agents[mpc]', or use solver='rti'"
        ) from error


def _program(problem: TrackingProblem) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return IPOPT on the problem, and the bounds of its unknowns x_1 .. x_N, u_0 .. u_{N-1}.

    Its parameters are x_0 and the targets.
    """
    casadi, count = load_casadi(), problem.horizon
    step = _step(casadi, problem.vehicle, problem.time_step)
    states = casadi.MX.sym("x", STATE_SIZE, count)
    thrusts = casadi.MX.sym("u", 4, count)
    first = casadi.MX.sym("x_0", STATE_SIZE)
    targets = casadi.MX.sym("target", STATE_SIZE, count)
    reached = step.map(count)(casadi.horzcat(first, states[:, :-1]), thrusts)
    hover = np.tile(np.array(problem.vehicle.hover_thrusts)[:, None], count)
    errors, efforts = states - targets, thrusts - casadi.DM(hover)
    cost = casadi.sum2(casadi.sum1(problem.weights.T * errors**2))
    cost += EFFORT_WEIGHT * casadi.sum2(casadi.sum1(efforts**2))
    program = {
        "x": casadi.vertcat(casadi.vec(states), casadi.vec(thrusts)),
        "p": casadi.vertcat(first, casadi.vec(targets)),
        "f": cost,
        "g": casadi.vec(reached - states),
    }
    quiet = {"print_level": 0, "sb": "yes", "tol": TOLERANCE}
    options = {"expand": True, "print_time": False, "ipopt": quiet}
    low = np.concatenate((np.full(STATE_SIZE * count, -np.inf), np.zeros(4 * count)))
    high = np.concatenate((np.full(STATE_SIZE * count, np.inf), np.ones(4 * count)))
    return casadi.nlpsol("tracking", "ipopt", program, options), low, high


def _step(casadi: Any, vehicle: Vehicle, time_step: float) -> Any:
    """Return F as a casadi function of x (13,) and u (4,)."""
    x, u = casadi.SX.sym("x", STATE_SIZE), casadi.SX.sym("u", 4)
    given = casadi.DM(vehicle.accelerations) @ u

    def slope(at: Any) -> Any:
        return _derivative(casadi, vehicle, casadi.vertsplit(at), casadi.vertsplit(given))

    h = time_step
    k1 = slope(x)
    k2 = slope(x + 0.5 * h * k1)
    k3 = slope(x + 0.5 * h * k2)
    k4 = slope(x + h * k3)
    reached = x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    attitude = reached[6:10] / casadi.norm_2(reached[6:10])
    reached = casadi.vertcat(reached[:6], attitude, reached[10:])
    return casadi.Function("step", [x, u], [reached])


def _derivative(casadi: Any, vehicle: Vehicle, x: Sequence[Any], given: Sequence[Any]) -> Any:
    """Return dx/dt of x (13 entries) under the thrust's acceleration and the torques', (4)."""
    _, _, _, vx, vy, vz, q0, q1, q2, q3, w1, w2, w3 = x
    lift, turn_x, turn_y, turn_z = given
    products = casadi.vertcat(w2 * w3, w3 * w1, w1 * w2, w1 * w1, w2 * w2, w3 * w3)
    drift = casadi.vertsplit(casadi.DM(vehicle.rate_products) @ products)
    return casadi.vertcat(
        vx,
        vy,
        vz,
        2.0 * lift * (q1 * q3 + q0 * q2),
        2.0 * lift * (q2 * q3 - q0 * q1),
        lift * (1.0 - 2.0 * (q1 * q1 + q2 * q2)) - GRAVITY,
        -0.5 * (q1 * w1 + q2 * w2 + q3 * w3),
        0.5 * (q0 * w1 + q2 * w3 - q3 * w2),
        0.5 * (q0 * w2 + q3 * w1 - q1 * w3),
        0.5 * (q0 * w3 + q1 * w2 - q2 * w1),
        drift[0] + turn_x,
        drift[1] + turn_y,
        drift[2] + turn_z,
    )
