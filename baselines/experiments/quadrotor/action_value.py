"""The true action value of a quadrotor's controller, by simulating the flight after each action.

    Q(s, a) = sum_k gamma^k r_k   with a in the first step and the controller in all that follow

It ignores obstacles. It is slow, and the filter's metrics approximate it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from safe_envs.quadrotor.dynamics import step_batch
from safe_envs.quadrotor.filtered.flight_metrics import DISCOUNT
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.task import stage_cost
from safe_envs.safety_filters import SphereRows, floored
from safe_envs.safety_filters.quadratic_program import improve, weight_of

LOW, HIGH = np.zeros(4), np.ones(4)  # of rotor thrusts
STEPS = 150  # of 0.01 s; rewards after them weigh less than 0.99^150 = 0.22 and are near 0
SUBSTEPS = 1  # of Runge-Kutta; half of the environment's, to 1e-6 m after a second
WIDTH = 0.05  # of the central differences, in thrust
NEWTON_STEPS = 1  # a second one moved the mean value by 7e-7, at 115 states among spheres


class LocalValue(NamedTuple):
    """Q's first two derivatives by the action."""

    gradient: np.ndarray  # (N, 4)
    hessian: np.ndarray  # (N, 4, 4)


@dataclass(frozen=True)
class ActionValue:
    """The value of a geometric controller.

    Args:
        pilot: the controller, with its vehicle and reference.
        steps: flown after the first.
        discount: gamma, per step.
    """

    pilot: GeometricLaw
    steps: int = STEPS
    discount: float = DISCOUNT

    def __call__(self, states: np.ndarray, times: np.ndarray, thrusts: np.ndarray) -> np.ndarray:
        """Return Q, (N,).

        Args:
            states: (13, N).
            times: on the reference, (N,) [s].
            thrusts: first actions, (4, N).
        """
        pilot = self.pilot
        reference, vehicle = pilot.reference, pilot.vehicle
        total, share = np.zeros(len(times)), 1.0
        for _ in range(self.steps):
            states = step_batch(vehicle, states, thrusts, pilot.dt, SUBSTEPS)
            times = times + pilot.dt
            wanted = reference.at(times)
            target = (*wanted.position[:2], *wanted.velocity[:2], reference.height)
            cost = stage_cost(states, target, thrusts, vehicle.hover_thrusts)[0]
            total -= share * pilot.dt * cost
            thrusts = pilot.batch(states, times)
            share *= self.discount
        return total

    def around(
        self, states: np.ndarray, times: np.ndarray, thrusts: np.ndarray, width: float = WIDTH
    ) -> LocalValue:
        """Return gradient and Hessian at the thrusts, by central differences of 33 points."""
        eye = width * np.eye(4)
        pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
        corners = [a * eye[i] + b * eye[j] for i, j in pairs for a in (1, -1) for b in (1, -1)]
        points = np.array([np.zeros(4), *eye, *-eye, *corners])  # (33, 4)
        tried = (thrusts[:, None, :] + points.T[:, :, None]).reshape(4, -1)
        tiled = np.tile(states, len(points)), np.tile(times, len(points))
        values = self(*tiled, tried).reshape(len(points), -1)
        middle, ahead, behind, mixed = values[0], values[1:5], values[5:9], values[9:]
        hessian = np.zeros((len(times), 4, 4))
        for i in range(4):
            hessian[:, i, i] = (ahead[i] - 2.0 * middle + behind[i]) / width**2
        for (i, j), (pp, pm, mp, mm) in zip(pairs, mixed.reshape(6, 4, -1), strict=True):
            hessian[:, i, j] = hessian[:, j, i] = (pp - pm - mp + mm) / (4.0 * width**2)
        return LocalValue((ahead - behind).T / (2.0 * width), hessian)


class SafeOptimum(NamedTuple):
    """The best thrusts that meet the rows."""

    action: np.ndarray  # (4, N)
    slack: np.ndarray  # (N,)


def value_optimal(
    value: ActionValue,
    rows: SphereRows,
    states: np.ndarray,
    times: np.ndarray,
    references: np.ndarray,
    newton_steps: int = NEWTON_STEPS,
) -> SafeOptimum:
    """Return u* = argmax Q(s, u) over the u that meet the rows and lie in [0, 1].

    Equation 4 of Lin and Xu (arXiv 2602.12603), after Gros, Zanon and Bemporad, "Safe reinforcement
    learning via projection on a safe set" (IFAC 2020), by Newton steps with the rows linearized at
    the reference.

    Args:
        value: Q.
        rows: around the spheres, of the same or of N sets.
        states: (13, N).
        times: on the reference, (N,) [s].
        references: where the rows are linearized and the search starts, (4, N) in [0, 1].
        newton_steps: programs solved for each state.
    """
    matrices, bounds = rows.batch(states, references)
    action = references.copy()
    slack = np.zeros(len(times))
    for _ in range(newton_steps):
        local = value.around(states, times, action)
        for i in range(len(times)):
            weight = weight_of(floored(-local.hessian[i]))
            start = np.ascontiguousarray(action[:, i])
            found = improve(weight, start, matrices[i], bounds[i], LOW, HIGH, local.gradient[i])
            action[:, i], slack[i] = found.action, found.slack
    return SafeOptimum(action, slack)
