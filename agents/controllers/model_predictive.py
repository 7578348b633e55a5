"""The quadrotor's model predictive controller, applied to observations."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.controllers.controlled_env import QUADROTORS, Env, controlled_env
from agents.controllers.observation_rows import observation_rows
from agents.controllers.quadrotor_mpc import QuadrotorMPC, SolverName
from agents.controllers.tracking_problem import HORIZON, TERMINAL_WEIGHT, TIME_STEP, FlightPlan
from safe_envs.quadrotor.observation import observed_flight


class MPCController:
    """Follows the quadrotor's reference with `QuadrotorMPC`; it ignores obstacles.

    Minimizes the reward's stage cost over a horizon of 1 s. The state and the time on the
    reference are read from the observation. The next plans start from the last ones, which are
    passed in `state`, like the memory of a recurrent policy: pass back the returned state, and mark
    in `episode_start` the rows that begin an episode. Without `state` every call plans from
    scratch, which takes about four times as long with "rti".

    Args:
        env: a quadrotor environment, wrapped or not, its native vector form, or its id.
        horizon: number of stages.
        time_step: of a stage [s].
        terminal_weight: of the last state's cost.
        solver: "rti", one Gauss-Newton step per call, or "ipopt", solved in full by casadi (extra
            `mpc`).

    Raises:
        TypeError: if `env` is not an environment.
        ValueError: if it is another environment or an argument is out of range.
        ImportError: if the solver is "ipopt" and casadi is not installed.
    """

    def __init__(
        self,
        env: Env,
        horizon: int = HORIZON,
        time_step: float = TIME_STEP,
        terminal_weight: float = TERMINAL_WEIGHT,
        solver: SolverName = "rti",
    ) -> None:
        inner = controlled_env(type(self).__name__, env, QUADROTORS)
        self.law = QuadrotorMPC(
            inner.vehicle, inner.reference, inner.control_dt, horizon, time_step, terminal_weight,
            solver,
        )  # fmt: skip
        self._width = inner.observation_space.shape[-1]

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return the actions, (4,) or (N, 4), and the plans they come from.

        Args:
            observation: (n,) or (N, n).
            state: the plans returned for the step before: states (N, horizon + 1, 13) and thrusts
                (N, horizon, 4), with N = 1 for one observation; None if there are none.
            episode_start: (N,) or a bool: rows whose plan in `state` must not be used.
            deterministic: has no effect.

        Raises:
            ValueError: if the observation or `state` is of the wrong shape.
            RuntimeError: if an optimization fails.
        """
        rows = observation_rows(type(self).__name__, observation, self._width)
        states, times = observed_flight(self.law.problem.reference, rows.values)
        last = self._last_plans(state, episode_start, len(states))
        plans = [self.law.plan(*row) for row in zip(states, times.tolist(), last, strict=True)]
        actions = rows.actions(2.0 * np.array([plan.thrusts[0] for plan in plans]) - 1.0)
        memory = np.stack([p.states for p in plans]), np.stack([p.thrusts for p in plans])
        return actions, memory

    def _last_plans(
        self, state: tuple[np.ndarray, ...] | None, episode_start: Any, count: int
    ) -> list[FlightPlan | None]:
        if state is None:
            return [None] * count
        horizon = self.law.problem.horizon
        shapes = [(count, horizon + 1, 13), (count, horizon, 4)]
        given = [np.shape(part) for part in state]
        if given != shapes:
            raise ValueError(
                f"state holds arrays of shapes {given}, but {count} observations need {shapes}; "
                "pass what predict returned for the step before, or None"
            )
        starts = np.broadcast_to(False if episode_start is None else episode_start, (count,))
        return [
            None if start else FlightPlan(*plan)
            for start, *plan in zip(starts, *state, strict=True)
        ]
