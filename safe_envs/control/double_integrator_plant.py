"""What the double integrator offers the safety filter: its invariant set as a barrier.

C_inf, the largest set of states that can be kept in the box forever, is a polytope. With u = -1 in
every step, the position after k steps is the smallest possible, x1 + k dt x2 - (k dt)^2 / 2, for
every k at once. So a state can be kept left of x1 = 15 if and only if

    x1 + k dt x2 <= 15 + (k dt)^2 / 2   for k = 0, 1, 2, ...

and, by symmetry, right of x1 = -15 if and only if -x satisfies the same rows. Inside the box they
bound the speed by 7.75 m/s, so the box's bound on x2 never matters, and both sides can be met at
once because the box is far wider than the change in one step. From k = 78 the rows follow from
the others. The tests confirm that this polytope is the fixed point of backward reachability.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from safe_envs.contract.single_env import SingleEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.control.double_integrator_reference import (
    BOX,
    HALF_SQUARE,
    MAX_ACTION,
    TIME_STEP,
    linear_quadratic_regulator,
)
from safe_envs.safety_filters.barriers import AffineBarrier
from safe_envs.safety_filters.filter_plant import FilterPlant, columns
from safe_envs.safety_filters.quadratic_program import SLACK_WEIGHT

LAST_ROW = 77  # the largest k whose row is not redundant
STATE_MATRIX = np.array([[1.0, TIME_STEP], [0.0, 1.0]])
INPUT_MATRIX = np.array([[HALF_SQUARE], [TIME_STEP]])
STATE_MATRIX.setflags(write=False)
INPUT_MATRIX.setflags(write=False)


def double_integrator_barrier(max_speed: float = 5.0, decay: float = 0.5) -> AffineBarrier:
    """Return a simple barrier that keeps `Safe/DoubleIntegrator-v0` in its box, with 6 rows.

    |x1| <= 15, |x1 + s x2| <= 15 and |x2| <= s for the speed s. On the second bound a deceleration
    of x2 / s, at most 1, keeps the state there, so wherever the state meets all rows, some action
    does. States outside the polytope are brought back as far as the actions allow.

    Args:
        max_speed: s [m/s], up to 15; also the time over which the position is extrapolated [s].
        decay: decay of `AffineBarrier`; 0.1 or more keeps the rows compatible.
    """
    if not 0.0 < max_speed <= BOX:
        raise ValueError(f"max_speed is {max_speed}; pass a number in (0, {BOX}]")
    side = np.array([[1.0, 0.0], [1.0, max_speed], [0.0, 1.0]])
    bound = np.array([BOX, BOX, max_speed * MAX_ACTION])
    return _barrier(side, bound, decay)


@cache
def invariant_set_barrier() -> AffineBarrier:
    """Return the barrier of C_inf, with 156 rows: the next state has to be in C_inf.

    Its margin covers the filter's slack, so that states of C_inf stay in it exactly.
    """
    ahead = TIME_STEP * np.arange(LAST_ROW + 1)  # k dt [s]
    side = np.stack([np.ones_like(ahead), ahead], axis=1)
    bound = BOX + 0.5 * MAX_ACTION * ahead * ahead
    return _barrier(side, bound, decay=1.0, margin=2.0 * MAX_ACTION / SLACK_WEIGHT)


def double_integrator_plant(env: SingleEnv) -> FilterPlant:
    """Return the plant: u is the action, the barrier that of C_inf.

    The state is the environment's own, so that wrappers may change observations.
    """
    return FilterPlant(
        low=np.array([-MAX_ACTION]),
        high=np.array([MAX_ACTION]),
        barrier=invariant_set_barrier(),
        metrics={"lqr": value_curvature},
        state=partial(_state, env),
    )


def double_integrator_batch_plant(env: NativeVectorEnv) -> FilterPlant:
    """Return the plant of the native vector form."""
    return FilterPlant(
        low=np.array([-MAX_ACTION]),
        high=np.array([MAX_ACTION]),
        barrier=invariant_set_barrier(),
        metrics={"lqr": value_curvature},
        state=partial(_states, env),
        decoded=columns,
        encoded=np.transpose,
    )


def value_curvature() -> np.ndarray:
    """Return minus the optimal action value's Hessian in u, 2 (R + B'P B), (1, 1), with R = 1."""
    value = linear_quadratic_regulator().value_matrix
    return 2.0 * (np.eye(1) + INPUT_MATRIX.T @ value @ INPUT_MATRIX)


def _state(env: SingleEnv, observation: Any) -> np.ndarray:
    return np.array(env.current_state("filtering an action"))


def _states(env: NativeVectorEnv, observations: Any) -> np.ndarray:
    return columns(env.current_states("filtering actions"))


def _barrier(
    side: np.ndarray, bound: np.ndarray, decay: float, margin: float = 0.0
) -> AffineBarrier:
    """Return the barrier of side x <= bound and -side x <= bound."""
    return AffineBarrier(
        state_matrix=STATE_MATRIX,
        input_matrix=INPUT_MATRIX,
        normals=np.vstack([side, -side]),
        offsets=np.concatenate([bound, bound]),
        decay=decay,
        margin=margin,
    )
