"""Gauss-Newton steps for the quadrotor's optimal control problem, one box QP each.

With residuals that are linear in x and u, the Gauss-Newton step from a plan solves the problem
with the model linearized along it,

    dx_{k+1} = A_k dx_k + B_k du_k + (F(x_k, u_k) - x_{k+1}),   dx_0 = 0,

whose states are eliminated: dx = G du + d leaves a program in the thrusts' changes alone,

    minimize 1/2 du'(G'W G + R) du + (G'W (x + d - target) + R (u - u_h))'du,   -u <= du <= 1 - u.

Sources: Diehl, Bock and Schloeder, "A real-time iteration scheme for nonlinear optimization in
optimal feedback control" (SIAM J. Control Optim. 2005), whose one step per control interval this
is; Bock and Plitt (1984) for the elimination. The program is solved by DAQP.
"""

from __future__ import annotations

import daqp
import numpy as np

from agents.controllers.quadrotor_prediction import Linearization, QuadrotorPrediction
from agents.controllers.tracking_problem import FlightPlan, TrackingProblem
from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.task import EFFORT_WEIGHT

SOLVED = 1  # DAQP's exit flag of an optimum


class GaussNewton:
    """Full Gauss-Newton steps.

    Repeated on one problem they converge to its optimum within 5 to 15 steps. If the vehicle is
    tumbling far off the reference they may not converge, because there is no line search.

    Args:
        problem: what to solve.
    """

    def __init__(self, problem: TrackingProblem) -> None:
        self.problem = problem
        self._prediction = QuadrotorPrediction(problem.vehicle, problem.time_step)
        count = 4 * problem.horizon
        self._roots = np.sqrt(problem.weights)  # (N, 13)
        self._effort = EFFORT_WEIGHT * np.eye(count)
        self._no_rows = np.zeros((0, count))
        self._sense = np.zeros(count, dtype=np.int32)

    def improved(self, state: np.ndarray, targets: np.ndarray, guess: FlightPlan) -> FlightPlan:
        """Return the plan after one step from a guess.

        Args:
            state: x_0, (13,).
            targets: (N, 13).
            guess: a plan; its x_0 is replaced.

        Raises:
            RuntimeError: if the quadratic program has no finite solution.
        """
        states, thrusts = guess.states.copy(), guess.thrusts
        states[0] = state
        linear = self._prediction.linearized(states[:-1], thrusts)
        answer = condensed(linear, linear.reached - states[1:])  # (N, 13, 1 + 4 N)
        residuals = self._roots[:, :, None] * answer
        residuals[:, :, 0] += self._roots * (states[1:] - targets)
        matrix = residuals.reshape(-1, answer.shape[2])
        squares = matrix.T @ matrix
        commanded = thrusts.ravel()
        hover = np.tile(self.problem.vehicle.hover_thrusts, self.problem.horizon)
        gradient = squares[1:, 0] + EFFORT_WEIGHT * (commanded - hover)
        hessian = squares[1:, 1:] + self._effort
        change = self._solve(hessian, gradient, commanded)
        states[1:] += answer[:, :, 0] + answer[:, :, 1:] @ change
        states[1:, 6:10] /= np.linalg.norm(states[1:, 6:10], axis=1, keepdims=True)
        reached = np.clip(commanded + change, 0.0, 1.0)
        return FlightPlan(states, reached.reshape(thrusts.shape))

    def _solve(
        self, hessian: np.ndarray, gradient: np.ndarray, commanded: np.ndarray
    ) -> np.ndarray:
        change, value, flag, _ = daqp.solve(
            hessian, gradient, self._no_rows, 1.0 - commanded, -commanded, self._sense
        )
        if flag != SOLVED or not np.isfinite(value):
            raise RuntimeError(
                f"the quadratic program of a plan failed with DAQP's exit flag {flag}; the vehicle "
                "may be too far from the reference to fly back, so start a new episode"
            )
        return change


def condensed(linear: Linearization, gaps: np.ndarray) -> np.ndarray:
    """Return d and G of dx_{k+1} = d_{k+1} + G_{k+1} du side by side, (N, 13, 1 + 4 N).

    Args:
        linear: A_k and B_k at N stages.
        gaps: F(x_k, u_k) - x_{k+1}, (N, 13).
    """
    count = len(gaps)
    answer = np.zeros((count, STATE_SIZE, 1 + 4 * count))
    answer[:, :, 0] = gaps
    by_state = np.ascontiguousarray(linear.by_state)
    for k in range(count):
        answer[k, :, 1 + 4 * k : 5 + 4 * k] = linear.by_thrusts[k]
        if k > 0:
            past = 1 + 4 * k
            answer[k, :, :past] += by_state[k] @ answer[k - 1, :, :past]
    return answer
