"""Metrics of the filter: how much a change of each action is taken to cost.

A weighted projection is worth its name if W is minus the Hessian of the action's value at the
reference (Lin and Xu, arXiv 2602.12603, equation 6). "euclidean" is the identity; "lqr" is that
Hessian in closed form for the quadrotor linearised at hover, which is this project's choice. It
needs no data, and serves every state. "fqi" is that Hessian learnt from flights, after the paper;
see `fitted_q` for what differs. A value that was fitted, `FittedQ`, gives its mean W.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import expm, solve_discrete_are

from safe_envs.quadrotor.filtered.action_value import SMALLEST_SHARE, FittedQ, StateMetric
from safe_envs.quadrotor.task import CONTROL_DT, EFFORT_WEIGHT, POSITION_WEIGHT, RATE_WEIGHT
from safe_envs.quadrotor.vehicle import CRAZYFLIE, GRAVITY, VEHICLES, Vehicle
from safe_envs.safety_filters.quadratic_program import checked_array

MetricFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of state and reference, (m, m)
Metric = str | np.ndarray | MetricFunction | FittedQ | StateMetric
Resolved = np.ndarray | MetricFunction | StateMetric
NAMES = ("euclidean", "lqr", "fqi")
DISCOUNT = 0.99  # of the value whose Hessian "lqr" is
VELOCITY_WEIGHT = 1.0  # [s^2/m^2]
ANGLE_WEIGHT = 0.5  # [1/rad^2]: 2 |q_v|^2 is half the square of a small angle
LEARNT_CRAZYFLIE = (
    (0.998527, -0.067249, -0.313035, -0.070603),
    (-0.067249, 0.987836, -0.067612, -0.303650),
    (-0.313035, -0.067612, 1.007568, -0.068888),
    (-0.070603, -0.303650, -0.068888, 1.006068),
)
"""The metric "fqi": the mean of W learnt from 60 flights of 300 steps each, with trace 4.

Within 3 percent, in the spectral norm, of the true value's curvature with trace 4. Rounded to six
decimals, as printed by
`python -m safe_envs.quadrotor.filtered.fitted_q --vehicle crazyflie --seed 0 --out value.npz`.
"""


def resolved_metric(
    metric: Metric, count: int, vehicle: Vehicle | None, time_step: float
) -> Resolved:
    """Return the floored matrix (count, count) that is meant, or what gives one in each state.

    Args:
        metric: a name, a matrix, a fitted value, its metric of the state, or a function of state
            and reference.
        count: entries of an action, m.
        vehicle: the quadrotor; None if the environment is none.
        time_step: for which an action is held [s].

    Raises:
        ValueError: if the name is not known or not for this environment or vehicle, the value is
            another vehicle's, or the matrix is of the wrong shape, not finite or has no positive
            eigenvalue.
        TypeError: if it is none of these.
    """
    if isinstance(metric, str):
        return _named_metric(metric, count, vehicle, time_step)
    if isinstance(metric, np.ndarray | list | tuple):
        return floored(checked_array("metric", metric, (count, count)))
    if isinstance(metric, FittedQ):
        check_vehicle(metric.vehicle, vehicle, time_step)
        return floored(metric.metric())
    if isinstance(metric, StateMetric):
        check_vehicle(metric.value.vehicle, vehicle, time_step)
        return metric
    if not callable(metric):
        raise TypeError(
            f"metric is {metric!r}; pass one of {NAMES}, a matrix ({count}, {count}), a FittedQ or "
            "a function of state and reference"
        )
    return metric


def metric_at(
    metric: MetricFunction | StateMetric, state: np.ndarray, reference: np.ndarray, time: float
) -> np.ndarray:
    """Return the metric in one state, its eigenvalues floored, (m, m).

    Args:
        metric: a function of state and reference, or a fitted value's.
        state: (n,).
        reference: (m,).
        time: on the reference [s], for a fitted value's.

    Raises:
        ValueError: if a function's result is no finite matrix (m, m) with a positive eigenvalue.
    """
    if isinstance(metric, StateMetric):
        return metric.at(state, time)
    given = metric(state, reference)
    shape = (len(reference), len(reference))
    return floored(checked_array("the metric function's result", given, shape))


def check_vehicle(fitted: str, vehicle: Vehicle | None, time_step: float) -> None:
    """Refuse what was fitted to another vehicle's flights.

    Args:
        fitted: name of the vehicle that flew.
        vehicle: the quadrotor; None if the environment is none.
        time_step: for which an action is held [s].

    Raises:
        ValueError: if it is another one, or another time step.
    """
    if vehicle is None:
        raise ValueError(
            f"the value or the transitions are of the quadrotor {fitted!r} and this environment "
            "is none; pass a metric that is a matrix or a function of state and reference"
        )
    if (vehicle, time_step) != (VEHICLES[fitted], CONTROL_DT):
        raise ValueError(
            f"the value or the transitions are of the vehicle {fitted!r} at {CONTROL_DT} s and the "
            "environment's is another; pass those of collect_transitions(vehicle=...) with its own"
        )


def _named_metric(name: str, count: int, vehicle: Vehicle | None, time_step: float) -> np.ndarray:
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"metric {name!r} is not known; {hint}pass one of {NAMES}, a matrix "
            f"({count}, {count}) or a function of state and reference"
        )
    if name == "euclidean":
        return np.eye(count)
    if vehicle is None:
        raise ValueError(
            f"metric {name!r} is for the quadrotor environments; pass 'euclidean', or as a matrix "
            f"({count}, {count}) minus the Hessian of your action's value"
        )
    if name == "lqr":
        return floored(hover_metric(vehicle, time_step))
    if (vehicle, time_step) != (CRAZYFLIE, CONTROL_DT):
        raise ValueError(
            "metric 'fqi' was learnt with the Crazyflie and this is another vehicle; pass 'lqr', "
            "or fit_q(collect_transitions(vehicle=...)).metric() with the functions of "
            "safe_envs.quadrotor.filtered.fitted_q and quadrotor_transitions"
        )
    return floored(np.array(LEARNT_CRAZYFLIE))


def floored(metric: np.ndarray, share: float = SMALLEST_SHARE) -> np.ndarray:
    """Return the symmetric part of a metric, its eigenvalues raised to a share of the largest.

    Raises:
        ValueError: if no eigenvalue is positive.
    """
    eigenvalues, vectors = np.linalg.eigh(0.5 * (metric + metric.T))
    if not eigenvalues[-1] > 0.0:
        raise ValueError(
            f"the metric has no positive eigenvalue, they are {eigenvalues.tolist()}; pass minus "
            "the Hessian of the value, not the Hessian"
        )
    raised = np.maximum(eigenvalues, share * eigenvalues[-1])
    return (vectors * raised) @ vectors.T


def hover_metric(vehicle: Vehicle, time_step: float, discount: float = DISCOUNT) -> np.ndarray:
    """Return minus the Hessian of the action's value at hover, (4, 4) in rotor thrusts.

        Q(x, u) = -(u'R u + x+'C x+) + discount V(x+),   x+ = A x + B u
        W = 2 (R + B'M B),   M = DARE(sqrt(g) A, sqrt(g) B, C, g R)

    x+'M x+ is the cost of the state reached and of all that follows under the best control. C and
    R are the reward's weights times the time step, since the reward is of the state reached.

    Args:
        vehicle: what hovers.
        time_step: for which thrusts are held [s].
        discount: g, per step.
    """
    a, b = hover_dynamics(vehicle, time_step)
    weights = (POSITION_WEIGHT, VELOCITY_WEIGHT, ANGLE_WEIGHT, RATE_WEIGHT)
    state_cost = np.diag(np.repeat(weights, 3)) * time_step
    thrust_cost = np.eye(4) * EFFORT_WEIGHT * time_step
    root = discount**0.5
    value = solve_discrete_are(root * a, root * b, state_cost, discount * thrust_cost)
    metric = 2.0 * (thrust_cost + b.T @ value @ b)
    return 0.5 * (metric + metric.T)


def hover_dynamics(vehicle: Vehicle, time_step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return A (12, 12) and B (12, 4) of the state (p, v, angles, rates) around hover.

    The continuous dynamics dv = g (angle_y, -angle_x, 0) + T e3 / m, with thrusts held over the
    time step.
    """
    continuous = np.zeros((16, 16))  # of (state, thrusts)
    continuous[0:3, 3:6] = np.eye(3)
    continuous[3, 7], continuous[4, 6] = GRAVITY, -GRAVITY
    continuous[6:9, 9:12] = np.eye(3)
    continuous[5, 12:] = vehicle.mixer[0] / vehicle.mass
    continuous[9:12, 12:] = vehicle.mixer[1:] / np.array(vehicle.inertia)[:, None]
    held: Any = expm(continuous * time_step)
    return held[:12, :12], held[:12, 12:]
