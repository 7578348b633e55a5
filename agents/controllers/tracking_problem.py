"""The optimal control problem of the quadrotor's predictive controllers, and the plans for it.

    minimize    sum_{k=0}^{N-1} l(x_k, u_k) + c l_x(x_N)   over u_0 .. u_{N-1}
    subject to  x_0 given,   x_{k+1} = F(x_k, u_k),   0 <= u_k <= 1

with the stage cost l of the reward, its part l_x without thrusts, and the model's step F.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from safe_envs.contract.argument_checks import check_count, check_positive
from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.task import POSITION_WEIGHT, RATE_WEIGHT
from safe_envs.quadrotor.vehicle import Vehicle

VELOCITY_WEIGHT = 1.0  # [s^2/m^2]; this and the next are those of `safe_envs.quadrotor.task`
TILT_WEIGHT = 2.0  # of |q_v|^2
HORIZON = 20  # stages; this and the next two were chosen for this project
TIME_STEP = 0.05  # [s]
TERMINAL_WEIGHT = 5.0


class FlightPlan(NamedTuple):
    """Planned states and thrusts."""

    states: np.ndarray  # x_0 .. x_N, (N + 1, 13)
    thrusts: np.ndarray  # u_0 .. u_{N-1}, (N, 4)


class Planner(Protocol):
    """A way to solve the problem, completely or by one step from a guess."""

    def improved(self, state: np.ndarray, targets: np.ndarray, guess: FlightPlan) -> FlightPlan:
        """Return a better plan from a state (13,) along targets (N, 13) for x_1 .. x_N."""
        ...


@dataclass(frozen=True)
class TrackingProblem:
    """The problem's constants.

    Args:
        vehicle: the model.
        reference: what to follow.
        horizon: number of stages N.
        time_step: of a stage, h [s].
        terminal_weight: c.

    Raises:
        ValueError: if a number is out of range.
    """

    vehicle: Vehicle
    reference: FigureEight
    horizon: int = HORIZON
    time_step: float = TIME_STEP
    terminal_weight: float = TERMINAL_WEIGHT

    def __post_init__(self) -> None:
        check_count(horizon=self.horizon)
        check_positive(time_step=self.time_step, terminal_weight=self.terminal_weight)

    @cached_property
    def weights(self) -> np.ndarray:
        """The weights of (x_k - target_k)^2 in the sum for k = 1 .. N, (N, 13)."""
        stage = np.repeat(
            (POSITION_WEIGHT, VELOCITY_WEIGHT, TILT_WEIGHT, RATE_WEIGHT), (3, 3, 4, 3)
        )
        stage[6] = 0.0  # the quaternion's scalar part
        weights = np.tile(stage, (self.horizon, 1))
        weights[-1] *= self.terminal_weight
        weights.setflags(write=False)
        return weights

    def targets(self, time: float) -> np.ndarray:
        """Return the targets of x_1 .. x_N if x_0 is at the given time [s], (N, 13)."""
        ahead = time + self.time_step * np.arange(1, self.horizon + 1)
        angle, targets = self.reference.rate * ahead, np.zeros((self.horizon, STATE_SIZE))
        x, y, vx, vy = self.reference.planar(np.cos(angle), np.sin(angle))
        targets[:, 0], targets[:, 1], targets[:, 2] = x, y, self.reference.height
        targets[:, 3], targets[:, 4] = vx, vy
        targets[:, 6] = 1.0
        return targets

    def first_guess(self, state: np.ndarray, targets: np.ndarray) -> FlightPlan:
        """Return the plan that is at the targets from the start and hovers."""
        thrusts = np.tile(self.vehicle.hover_thrusts, (self.horizon, 1))
        return FlightPlan(np.concatenate((state[None], targets)), thrusts)

    def shifted(self, plan: FlightPlan, duration: float) -> FlightPlan:
        """Return a plan as a guess for `duration` seconds later, interpolated between its stages.

        The end is extrapolated from the last stage. Quaternions are normalized.
        """
        share = duration / self.time_step
        states, thrusts = plan.states.copy(), plan.thrusts.copy()
        change = np.diff(plan.states, axis=0)
        states[:-1] += share * change
        states[-1] += share * change[-1]
        states[:, 6:10] /= np.linalg.norm(states[:, 6:10], axis=1, keepdims=True)
        thrusts[:-1] += share * np.diff(plan.thrusts, axis=0)
        return FlightPlan(states, thrusts)
