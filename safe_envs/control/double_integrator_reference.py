"""The double integrator of SCPO: its dynamics, controllers, value and safe sets.

    x1' = x1 + dt x2 + dt^2/2 u,   x2' = x2 + dt u,   |x_i| <= 15,   |u| <= 1,   dt = 0.1

Source: Cao and Borrelli, "Constrained Policy Optimization via Sampling-Based Weight-Space
Projection" (SCPO, arXiv 2512.13788), section VI-B, equation 32, with Q = I, R = 1.
All functions take states of shape (n, 2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_discrete_are

TIME_STEP = 0.1  # [s]
HALF_SQUARE = 0.5 * TIME_STEP**2
BOX = 15.0  # bound of position and velocity
MAX_ACTION = 1.0
ROUNDING = 1e-12  # distance outside the box that still counts as inside
TARGET_RADIUS = 0.01  # of the target set around the origin
EXPERT_GAIN = 2.0

Policy = Callable[[np.ndarray], np.ndarray]  # states (n, 2) -> actions (n,)


class LinearQuadraticRegulator(NamedTuple):
    """The optimal unconstrained controller u = -K x and its value x' P x."""

    gain: np.ndarray  # K, (2,)
    value_matrix: np.ndarray  # P, (2, 2)
    invariant_level: float  # largest c such that |K x| <= 1 wherever x' P x <= c


@cache
def linear_quadratic_regulator() -> LinearQuadraticRegulator:
    """Return the solution of the discrete algebraic Riccati equation for Q = I, R = 1."""
    a = np.array([[1.0, TIME_STEP], [0.0, 1.0]])
    b = np.array([[HALF_SQUARE], [TIME_STEP]])
    p = solve_discrete_are(a, b, np.eye(2), np.eye(1))
    k = np.linalg.solve(np.eye(1) + b.T @ p @ b, b.T @ p @ a)[0]
    level = MAX_ACTION**2 / float(k @ np.linalg.solve(p, k))
    return LinearQuadraticRegulator(k, p, level)


def next_states(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return the states (n, 2) after one step with actions (n,) in [-1, 1]."""
    position, velocity = states[:, 0], states[:, 1]
    result = np.empty_like(states)
    result[:, 0] = position + TIME_STEP * velocity + HALF_SQUARE * actions
    result[:, 1] = velocity + TIME_STEP * actions
    return result


def safe_controller(states: np.ndarray) -> np.ndarray:
    """Return clip(-K x, -1, 1), shape (n,): the stabilizing controller from which SCPO starts."""
    k1, k2 = linear_quadratic_regulator().gain.tolist()
    return np.minimum(np.maximum(-(k1 * states[:, 0] + k2 * states[:, 1]), -1.0), 1.0)


def malicious_expert(states: np.ndarray, noise: np.ndarray | float = 0.0) -> np.ndarray:
    """Return clip(-2 (x1 + x2) + noise, -1, 1), shape (n,): the expert that leaves the box."""
    raw = -EXPERT_GAIN * (states[:, 0] + states[:, 1]) + noise
    return np.minimum(np.maximum(raw, -1.0), 1.0)


def braking_controller(states: np.ndarray) -> np.ndarray:
    """Return the action (n,) that stops the motion as fast as it can."""
    return np.minimum(np.maximum(-states[:, 1] / TIME_STEP, -1.0), 1.0)


def inside_box(states: np.ndarray) -> np.ndarray:
    """Return (n,) bool: both position and velocity are within the box."""
    return (np.abs(states) <= BOX + ROUNDING).all(axis=1)


def safe_value(states: np.ndarray) -> np.ndarray:
    """Return the cost-to-go sum x'x + u^2 of the safe controller, inf where it leaves the box.

    Once x' P x is within the invariant level the controller never saturates again, and the rest
    of the sum is exactly x' P x.
    """
    regulator = linear_quadratic_regulator()
    value = np.where(inside_box(states), 0.0, np.inf)
    rows = np.flatnonzero(np.isfinite(value))
    x = states[rows]
    while len(rows):
        remaining = np.einsum("ni,ij,nj->n", x, regulator.value_matrix, x)
        settled = remaining <= regulator.invariant_level
        value[rows[settled]] += remaining[settled]
        rows, x = rows[~settled], x[~settled]
        actions = safe_controller(x)
        value[rows] += (x * x).sum(axis=1) + actions * actions
        x = next_states(x, actions)
        left = ~inside_box(x)
        value[rows[left]] = np.inf
        rows, x = rows[~left], x[~left]
    return value


def in_safe_set(states: np.ndarray) -> np.ndarray:
    """Return (n,) bool: the safe controller brings the state to the origin inside the box.

    This is R_safe of the paper, its backward reachable set under the safe controller.
    """
    p11, p12, p22, level = _settled_form()
    safe = np.zeros(len(states), dtype=np.bool_)
    rows = np.flatnonzero(inside_box(states))
    x = states[rows]
    while len(rows):
        x1, x2 = x[:, 0], x[:, 1]
        settled = p11 * x1 * x1 + 2.0 * p12 * x1 * x2 + p22 * x2 * x2 <= level
        safe[rows[settled]] = True
        x = next_states(x, safe_controller(x))
        going_on = ~settled & inside_box(x)
        rows, x = rows[going_on], x[going_on]
    return safe


def is_safe_state(position: float, velocity: float) -> bool:
    """Return `in_safe_set` of one state, on plain floats: fast enough for every reset."""
    p11, p12, p22, level = _settled_form()
    k1, k2 = linear_quadratic_regulator().gain.tolist()
    bound = BOX + ROUNDING
    while abs(position) <= bound and abs(velocity) <= bound:
        form = p11 * position * position + 2.0 * p12 * position * velocity
        if form + p22 * velocity * velocity <= level:
            return True
        action = min(max(-(k1 * position + k2 * velocity), -1.0), 1.0)
        position = position + TIME_STEP * velocity + HALF_SQUARE * action
        velocity = velocity + TIME_STEP * action
    return False


def reaches_target(
    policy: Policy, states: np.ndarray, radius: float = TARGET_RADIUS, steps: int = 1000
) -> np.ndarray:
    """Return (n,) bool: the policy enters |x| <= radius within `steps`, never leaving the box."""
    reached = np.zeros(len(states), dtype=np.bool_)
    rows = np.flatnonzero(inside_box(states))
    x = states[rows]
    for _ in range(steps + 1):
        close = np.hypot(x[:, 0], x[:, 1]) <= radius
        reached[rows[close]] = True
        x = next_states(x, policy(x))
        going_on = ~close & inside_box(x)
        rows, x = rows[going_on], x[going_on]
        if len(rows) == 0:
            break
    return reached


def in_controllable_set(states: np.ndarray, steps: int = 400) -> np.ndarray:
    """Return (n,) bool: braking as hard as possible stops the state inside the box (C_inf).

    In continuous time, no other action can if braking cannot. In discrete time, an exact stop may
    need up to dt^2 / 4 = 0.0025 m more; `double_integrator_plant` has the exact set.
    """
    inside = inside_box(states)
    x = np.array(states, dtype=np.float64)
    for _ in range(steps):
        x = next_states(x, braking_controller(x))
        inside &= inside_box(x)
    return inside


@cache
def _settled_form() -> tuple[float, float, float, float]:
    regulator = linear_quadratic_regulator()
    p = regulator.value_matrix
    return float(p[0, 0]), float(p[0, 1]), float(p[1, 1]), regulator.invariant_level
