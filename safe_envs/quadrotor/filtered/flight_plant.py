"""What quadrotor environments offer the safety filter, in rotor thrusts u in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from safe_envs.quadrotor.filtered.action_value import FittedQ
from safe_envs.quadrotor.filtered.fitted_q import fit_q
from safe_envs.quadrotor.filtered.flight import Flight
from safe_envs.quadrotor.filtered.flight_metrics import hover_metric, learned_metric
from safe_envs.quadrotor.filtered.sphere_barrier import MARGIN, SphereZCBF
from safe_envs.quadrotor.filtered.transitions import Transitions
from safe_envs.safety_filters.filter_plant import FilterPlant

if TYPE_CHECKING:  # the environments import this module
    from safe_envs.quadrotor.env import QuadrotorEnv
    from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv


def flight_plant(env: QuadrotorEnv) -> FilterPlant:
    """Return the plant of one quadrotor: its state, barrier, metrics and fit."""
    return _plant(_flight(env, partial(_time, env)), partial(_state, env), _thrusts, env.action_of)


def flight_batch_plant(env: QuadrotorVectorEnv) -> FilterPlant:
    """Return the plant of many quadrotors."""
    flight = _flight(env, partial(_times, env))
    return _plant(flight, partial(_states, env), env.thrusts_of, env.actions_of)


def _flight(env: QuadrotorEnv | QuadrotorVectorEnv, time: Callable[[], Any]) -> Flight:
    moves = len(env.moving) > 0
    spheres, motion = partial(_spheres, env), partial(_motion, env)
    return Flight(env.vehicle, env.control_dt, spheres, time, env.reference, motion, moves)


def _plant(
    flight: Flight,
    state: Callable[[Any], np.ndarray],
    decoded: Callable[[np.ndarray], np.ndarray],
    encoded: Callable[[np.ndarray], np.ndarray],
) -> FilterPlant:
    return FilterPlant(
        low=np.zeros(4),
        high=np.ones(4),
        barrier=SphereZCBF(3, margin=MARGIN),
        metrics={
            "lqr": partial(hover_metric, flight.vehicle, flight.time_step),
            "fqi": partial(learned_metric, flight.vehicle, flight.time_step),
        },
        state=state,
        decoded=decoded,
        encoded=encoded,
        fit=partial(_fit, flight),
        system=flight,
        scene_moves=flight.moves,
    )


def _fit(flight: Flight, transitions: Transitions) -> FittedQ:
    flight.check_flown_by(transitions.vehicle)
    return fit_q(transitions)


def _spheres(env: QuadrotorEnv | QuadrotorVectorEnv) -> tuple[np.ndarray, np.ndarray]:
    return env.centers, env.radii


def _motion(env: QuadrotorEnv | QuadrotorVectorEnv) -> np.ndarray | None:
    return env.motion if len(env.moving) else None


def _state(env: QuadrotorEnv, observation: Any) -> np.ndarray:
    return env.state


def _states(env: QuadrotorVectorEnv, observations: Any) -> np.ndarray:
    return env.states


def _time(env: QuadrotorEnv) -> float:
    return env.time


def _times(env: QuadrotorVectorEnv) -> np.ndarray:
    return env.times


def _thrusts(action: np.ndarray) -> np.ndarray:
    return 0.5 * (action + 1.0)  # as the environment's `thrusts_of`, of an action within its bounds
