"""Flights of the quadrotor behind each of the compared filters, and their measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv

from agents.controllers.quadrotor_mpc import QuadrotorMPC
from baselines.experiments.quadrotor.action_value import ActionValue, value_optimal
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.task import SceneName
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.safety_filters import (
    CERTIFIED_SLACK,
    SafetyFilter,
    SphereZCBF,
    VectorSafetyFilter,
    filter_batch,
)
from safe_envs.safety_filters.metrics import ConstantMetric, resolved_metric

Nominal = Literal["geometric", "mpc"]
Pilot = Callable[[np.ndarray, np.ndarray], np.ndarray]  # states (13, N), times (N,) -> (4, N)


class Filter(NamedTuple):
    """A filter to compare."""

    name: str
    order: int
    metric: str


NO_FILTER = "no filter"
TRUE_VALUE = "true value"
VALUE_OPTIMAL = Filter("order 3, value-optimal", 3, TRUE_VALUE)  # equation 4, the upper reference
FILTERS = (
    Filter("order 2, euclidean", 2, "euclidean"),
    Filter("order 2, lqr", 2, "lqr"),
    Filter("order 3, euclidean", 3, "euclidean"),
    Filter("order 3, lqr", 3, "lqr"),
    Filter("order 3, fqi", 3, "fqi"),
)
WEIGHTED = tuple(each for each in FILTERS if each.metric != "euclidean")
NAMES = (NO_FILTER, *(each.name for each in FILTERS))
DEGRADATION_ORDER = 3
SAMPLED_EVERY = 20  # steps between the moments at which active states are collected
COMPARED = {each.name: each.metric for each in FILTERS if each.order == DEGRADATION_ORDER}


class Flights(NamedTuple):
    """Measurements of N flights; every array has shape (N,), except for `path`."""

    returns: np.ndarray  # plain sum of rewards
    rmse: np.ndarray  # of the position's error [m]
    clearance: np.ndarray  # smallest distance from a sphere's surface to the vehicle's [m]
    violation: np.ndarray  # share of steps that end in a sphere
    slack: np.ndarray  # share of steps whose action is not certified
    active: np.ndarray  # share of steps in which the filter changed the action
    ended_early: np.ndarray  # bool: terminated
    path: np.ndarray  # (steps, 3) of the first flight [m]


def fly(
    scene: SceneName,
    chosen: Filter | None,
    scenarios: int,
    seed: int,
    margin: float,
    steps: int,
    conditions: Mapping[str, Any] | None = None,
    nominal: Nominal = "geometric",
) -> Flights:
    """Return flights of a controller that ignores obstacles, behind a filter.

    Starts and obstacles depend on the seed alone, so that flights of different filters are paired.
    Steps of a flight after its termination are not counted.

    Args:
        scene: where to fly.
        chosen: the filter; None flies without.
        scenarios: number of flights, N.
        seed: of starts and obstacles.
        margin: of the filter's barrier [m].
        steps: of 0.01 s.
        conditions: wind, mass or lag unknown to controller and filter, as arguments of the
            environment.
        nominal: the controller.
    """
    flight = QuadrotorVectorEnv(scenarios, None, scene=scene, **(conditions or {}))
    pilot = pilot_of(nominal, flight)
    env: VectorEnv = flight
    if chosen is not None and chosen.metric != TRUE_VALUE:
        env = VectorSafetyFilter(flight, _barrier(chosen, margin), chosen.metric)
    env.reset(seed=seed)
    flying = np.ones(scenarios, dtype=np.bool_)
    returns, squares, count = np.zeros((3, scenarios))
    violation, slack, active = np.zeros((3, scenarios))
    clearance = np.full(scenarios, np.inf)
    path = np.full((steps, 3), np.nan)
    for step in range(steps):
        u = pilot(flight.states, flight.times)
        if chosen is VALUE_OPTIMAL:
            u, lacking, changed = _value_optimal(flight, u, margin)
        _, reward, terminated, _, infos = env.step(flight.actions_of(u))
        if chosen is not None and chosen is not VALUE_OPTIMAL:
            lacking, changed = infos["filter_slack"], infos["filter_active"]
        error = flight.states[:3] - flight.reference.at(flight.times).position
        count += flying
        returns += flying * reward
        squares += flying * (error * error).sum(axis=0)
        violation += flying * (infos["cost"] > 0.0)
        if chosen is not None:
            slack += flying * (lacking > CERTIFIED_SLACK)
            active += flying * changed
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


def pilot_of(nominal: Nominal, flight: QuadrotorVectorEnv) -> Pilot:
    """Return the controller of all flights; one that plans has its own plan for each flight."""
    law = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    if nominal == "geometric":
        return law.batch
    planners = [
        QuadrotorMPC(flight.vehicle, flight.reference, flight.control_dt)
        for _ in range(flight.num_envs)
    ]

    def plan(states: np.ndarray, times: np.ndarray) -> np.ndarray:
        columns = zip(planners, states.T, times.tolist(), strict=True)
        return np.stack([planner(state, time) for planner, state, time in columns], axis=1)

    return plan


def _value_optimal(
    flight: QuadrotorVectorEnv, u: np.ndarray, margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return thrusts (the best safe ones where the controller's are unsafe), slack, and where."""
    rows = _barrier(VALUE_OPTIMAL, margin).around(
        flight.vehicle, flight.control_dt, flight.centers, flight.radii
    )
    matrices, bounds = rows.batch(flight.states, u)
    unsafe = ((matrices @ u.T[:, :, None])[:, :, 0] < bounds).any(axis=1)
    slack, thrusts = np.zeros(len(unsafe)), u.copy()
    chosen = np.flatnonzero(unsafe)
    if len(chosen):
        states, times = flight.states[:, chosen], flight.times[chosen]
        law = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
        value = ActionValue(law)
        found = value_optimal(value, rows.of(chosen), states, times, u[:, chosen])
        thrusts[:, chosen], slack[chosen] = found
    return thrusts, slack, unsafe


def filter_times(
    scene: SceneName, chosen: Filter, seed: int, margin: float, steps: int
) -> np.ndarray:
    """Return the seconds that each step of one flight spent in the filter, (steps,)."""
    flight = QuadrotorEnv(scene)
    env = SafetyFilter(flight, _barrier(chosen, margin), chosen.metric)
    controller = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    env.reset(seed=seed)
    times = np.empty(steps)
    for step in range(steps):
        action = flight.action_of(controller(flight.state, flight.time))
        _, _, terminated, _, info = env.step(action)
        times[step] = info["filter_time"]
        if terminated:
            env.reset()
    return times


def one_step_degradation(
    scene: SceneName, scenarios: int, seed: int, margin: float, steps: int
) -> dict[str, np.ndarray]:
    """Return Q(s, u_ref) - Q(s, u) of every filter of order 3 at the same states, (states,) each.

    The states are those of flights behind the Euclidean filter in which the reference is unsafe.
    Below 0 the correction is better than the reference, which does not maximize its own Q.
    """
    flight = QuadrotorVectorEnv(scenarios, None, scene=scene)
    flight.reset(seed=seed)
    controller = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    value = ActionValue(controller)
    barrier = SphereZCBF(DEGRADATION_ORDER, margin=margin)
    plant = flight.filter_plant()
    weights = {}
    for name, metric in COMPARED.items():
        resolved = resolved_metric(metric, plant)
        assert isinstance(resolved, ConstantMetric)
        weights[name] = resolved.weight
    lost: dict[str, list[np.ndarray]] = {name: [] for name in (*weights, VALUE_OPTIMAL.name)}
    for step in range(steps):
        states, times = flight.states, flight.times
        u = controller.batch(states, times)
        rows = barrier.around(flight.vehicle, flight.control_dt, flight.centers, flight.radii)
        found = {name: filter_batch(rows, weight, states, u) for name, weight in weights.items()}
        euclidean = next(iter(found.values()))
        chosen = np.flatnonzero(euclidean.active)
        if step % SAMPLED_EVERY == SAMPLED_EVERY // 2 and len(chosen):
            here = states[:, chosen], times[chosen]
            before = value(*here, u[:, chosen])
            best = value_optimal(value, rows.of(chosen), *here, u[:, chosen]).action
            lost[VALUE_OPTIMAL.name].append(before - value(*here, best))
            for name, each in found.items():
                lost[name].append(before - value(*here, each.action[:, chosen]))
        flight.step(flight.actions_of(euclidean.action))
    return {name: np.concatenate(parts or [np.zeros(0)]) for name, parts in lost.items()}


def _barrier(chosen: Filter, margin: float) -> SphereZCBF:
    return SphereZCBF(chosen.order, margin=margin)
