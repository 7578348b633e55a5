"""The quadrotor's geometric tracking controller, applied to observations."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.controllers.controlled_env import QUADROTORS, Env, controlled_env
from agents.controllers.observation_rows import PredictState, observation_rows
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.observation import observed_flight


class GeometricController:
    """Follows the quadrotor's reference with an error of 0.003 m; it ignores obstacles.

    The law is `safe_envs.quadrotor.geometric_controller.GeometricLaw` (Lee, Leok and McClamroch,
    CDC 2010); the state and the time on the reference are read from the observation, so actions
    depend on nothing else.

    Args:
        env: a quadrotor environment, wrapped or not, its native vector form, or its id.

    Raises:
        TypeError: if `env` is not an environment.
        ValueError: if it is another environment.
    """

    def __init__(self, env: Env) -> None:
        inner = controlled_env(type(self).__name__, env, QUADROTORS)
        self.law = GeometricLaw(inner.vehicle, inner.reference, inner.control_dt)
        self._width = inner.observation_space.shape[-1]

    def predict(
        self,
        observation: np.ndarray,
        state: PredictState = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, PredictState]:
        """Return the actions, (4,) or (N, 4), and `state` unchanged."""
        rows = observation_rows(type(self).__name__, observation, self._width)
        states, times = observed_flight(self.law.reference, rows.values)
        if len(states) == 1:  # the law is faster with plain floats
            thrusts = self.law(states[0], float(times[0]))[None]
        else:
            thrusts = self.law.batch(states.T, times).T
        return rows.actions(2.0 * thrusts - 1.0), state
