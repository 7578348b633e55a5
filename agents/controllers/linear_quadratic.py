"""Linear-quadratic regulators for the double integrator and the quadrotor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import solve_discrete_are

from agents.controllers.controlled_env import DOUBLE_INTEGRATORS, QUADROTORS, Env, controlled_env
from agents.controllers.observation_rows import PredictState, observation_rows
from safe_envs.control.double_integrator_reference import (
    linear_quadratic_regulator,
    safe_controller,
)
from safe_envs.quadrotor.filtered.flight_metrics import (
    ANGLE_WEIGHT,
    VELOCITY_WEIGHT,
    hover_dynamics,
)
from safe_envs.quadrotor.observation import observed_flight
from safe_envs.quadrotor.reference import FigureEight
from safe_envs.quadrotor.task import EFFORT_WEIGHT, POSITION_WEIGHT, RATE_WEIGHT
from safe_envs.quadrotor.vehicle import GRAVITY, Vehicle


class LQRController:
    """The linear-quadratic regulator, clipped to the actions' bounds.

    - Safe/DoubleIntegrator-v0: u = clip(-K x, -1, 1) for the cost x'x + u^2; it is also the safe
      controller of SCPO (arXiv 2512.13788, section VI-B).
    - Quadrotors: thrusts u = clip(u_h - K (x - x_d), 0, 1) with K of the model linearized at hover
      and the reward's weights. x = (position, velocity, angles, rates), the angles being 2 q_v;
      x_d is the reference with the tilt (-a_y, a_x, 0) / g that its acceleration a requires, and
      that tilt's rate. It follows slow references near hover and ignores obstacles.

    Args:
        env: one of these, wrapped or not, its native vector form, or its id.

    Raises:
        TypeError: if `env` is not an environment.
        ValueError: if it is another environment.
    """

    def __init__(self, env: Env) -> None:
        inner = controlled_env(type(self).__name__, env, DOUBLE_INTEGRATORS, QUADROTORS)
        self._law: Callable[[np.ndarray], np.ndarray]
        if isinstance(inner, DOUBLE_INTEGRATORS):
            self._width = 2
            self.gain = linear_quadratic_regulator().gain[None]  # K, (1, 2)
            self._law = _push
        else:
            self._width = inner.observation_space.shape[-1]
            self.gain = hover_gain(inner.vehicle, inner.control_dt)  # K, (4, 12)
            self._law = _HoverLaw(inner.vehicle, inner.reference, self.gain)

    def predict(
        self,
        observation: np.ndarray,
        state: PredictState = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PredictState]:
        """Return the actions, (a,) or (N, a), and `state` unchanged."""
        rows = observation_rows(type(self).__name__, observation, self._width)
        return rows.actions(self._law(rows.values)), state


def hover_gain(vehicle: Vehicle, time_step: float) -> np.ndarray:
    """Return K of the undiscounted linear-quadratic problem at hover, (4, 12).

        minimize sum x'C x + u'R u,   x+ = A x + B u,
        P = DARE(A, B, C, R),   K = (R + B'P B)^-1 B'P A

    Args:
        vehicle: the model.
        time_step: during which the thrusts are constant [s].
    """
    a, b = hover_dynamics(vehicle, time_step)
    weights = (POSITION_WEIGHT, VELOCITY_WEIGHT, ANGLE_WEIGHT, RATE_WEIGHT)
    effort = EFFORT_WEIGHT * np.eye(4)
    value = solve_discrete_are(a, b, np.diag(np.repeat(weights, 3)), effort)
    return np.linalg.solve(effort + b.T @ value @ b, b.T @ value @ a)


def _push(states: np.ndarray) -> np.ndarray:
    return safe_controller(states)[:, None]


class _HoverLaw:
    """The quadrotor's control law, applied to observations."""

    def __init__(self, vehicle: Vehicle, reference: FigureEight, gain: np.ndarray) -> None:
        self._hover = np.array(vehicle.hover_thrusts)
        self._reference = reference
        self._gain = gain

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Return actions (N, 4)."""
        states, times = observed_flight(self._reference, observations)
        wanted = self._reference.at(times)
        errors = np.concatenate((states[:, :6], 2.0 * states[:, 7:10], states[:, 10:]), axis=1)
        errors[:, :3] -= wanted.position.T
        errors[:, 3:6] -= wanted.velocity.T
        for first, (x, y, _) in ((6, wanted.acceleration), (9, wanted.jerk)):
            errors[:, first] += y / GRAVITY
            errors[:, first + 1] -= x / GRAVITY
        return 2.0 * (self._hover - errors @ self._gain.T) - 1.0
