"""Flights of the quadrotor behind each of the filters that are compared, and paired intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from scipy.stats import t as student

from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricController
from safe_envs.quadrotor.task import SceneName
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.safety_filters import (
    CERTIFIED_SLACK,
    SafetyFilter,
    SphereZCBF,
    VectorSafetyFilter,
)


class Filter(NamedTuple):
    """A filter to compare."""

    name: str
    order: int
    metric: str


NO_FILTER = "no filter"
FILTERS = (
    Filter("order 2, euclidean", 2, "euclidean"),
    Filter("order 2, lqr", 2, "lqr"),
    Filter("order 3, euclidean", 3, "euclidean"),
    Filter("order 3, lqr", 3, "lqr"),
    Filter("order 3, fqi", 3, "fqi"),
)
WEIGHTED = tuple(each for each in FILTERS if each.metric != "euclidean")
NAMES = (NO_FILTER, *(each.name for each in FILTERS))


class Flights(NamedTuple):
    """What N flights were like; every array has shape (N,), but for `path`."""

    returns: np.ndarray  # plain sum of rewards
    rmse: np.ndarray  # of the position's error [m]
    clearance: np.ndarray  # smallest distance from a sphere's surface to the vehicle's [m]
    violation: np.ndarray  # share of steps that end in a sphere
    slack: np.ndarray  # share of steps whose action is not certified
    active: np.ndarray  # share of steps in which the filter changed the action
    ended_early: np.ndarray  # bool: terminated
    path: np.ndarray  # (steps, 3) of the first flight [m]


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval, mean +- half_width."""

    mean: float
    half_width: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return abs(self.mean) > self.half_width


def fly(
    scene: SceneName, chosen: Filter | None, scenarios: int, seed: int, margin: float, steps: int
) -> Flights:
    """Return flights of the geometric controller, which knows of no obstacle, behind a filter.

    Starts and obstacles depend on the seed alone, so that flights of different filters are paired.
    What a flight does after it terminated is not counted.
    """
    flight = QuadrotorVectorEnv(scenarios, None, scene=scene)
    env: VectorEnv = flight
    if chosen is not None:
        env = VectorSafetyFilter(flight, _barrier(chosen, margin), chosen.metric)
    controller = GeometricController(flight.vehicle, flight.reference, flight.control_dt)
    env.reset(seed=seed)
    flying = np.ones(scenarios, dtype=np.bool_)
    returns, squares, count = np.zeros((3, scenarios))
    violation, slack, active = np.zeros((3, scenarios))
    clearance = np.full(scenarios, np.inf)
    path = np.full((steps, 3), np.nan)
    for step in range(steps):
        u = controller.batch(flight.states, flight.times)
        _, reward, terminated, _, infos = env.step(flight.actions_of(u))
        error = flight.states[:3] - flight.reference.at(flight.times).position
        count += flying
        returns += flying * reward
        squares += flying * (error * error).sum(axis=0)
        violation += flying * (infos["cost"] > 0.0)
        if chosen is not None:
            slack += flying * (infos["filter_slack"] > CERTIFIED_SLACK)
            active += flying * infos["filter_active"]
        nearest = -infos["constraint_values"].max(axis=1)
        clearance = np.where(flying, np.minimum(clearance, nearest), clearance)
        if flying[0]:
            path[step] = flight.states[:3, 0]
        flying &= ~terminated
    return Flights(
        returns=returns,
        rmse=np.sqrt(squares / count),
        clearance=clearance,
        violation=violation / count,
        slack=slack / count,
        active=active / count,
        ended_early=~flying,
        path=path,
    )


def filter_times(
    scene: SceneName, chosen: Filter, seed: int, margin: float, steps: int
) -> np.ndarray:
    """Return the seconds that each step of one flight spent in the filter, (steps,)."""
    flight = QuadrotorEnv(scene)
    env = SafetyFilter(flight, _barrier(chosen, margin), chosen.metric)
    controller = GeometricController(flight.vehicle, flight.reference, flight.control_dt)
    env.reset(seed=seed)
    times = np.empty(steps)
    for step in range(steps):
        action = flight.action_of(controller(flight.state, flight.time))
        _, _, terminated, _, info = env.step(action)
        times[step] = info["filter_time"]
        if terminated:
            env.reset()
    return times


def paired_interval(ours: np.ndarray, theirs: np.ndarray) -> Interval:
    """Return the mean of ours - theirs over pairs (N,) with Student's 95 % interval.

        half width = t_{0.975, N - 1} s / sqrt(N)

    Raises:
        ValueError: if there are fewer than two pairs.
    """
    difference = ours - theirs
    count = len(difference)
    if count < 2:
        raise ValueError(f"{count} pair has no confidence interval; fly at least 2 scenarios")
    width = student.ppf(0.975, count - 1) * difference.std(ddof=1) / np.sqrt(count)
    return Interval(float(difference.mean()), float(width))


def _barrier(chosen: Filter, margin: float) -> SphereZCBF:
    return SphereZCBF(chosen.order, margin=margin)
