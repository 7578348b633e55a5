"""The metrics that quadrotors know by name: "lqr" in closed form, and "fqi", learned from flights.

Both are minus the Hessian of the action's value (Lin and Xu, arXiv 2602.12603, equation 6). "lqr"
is that of the quadrotor linearized at hover, which is this project's choice: it needs no data and
is used in every state. "fqi" is a constant that `fitted_q` learned, after the paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import expm, solve_discrete_are

from safe_envs.quadrotor.task import CONTROL_DT, EFFORT_WEIGHT, POSITION_WEIGHT, RATE_WEIGHT
from safe_envs.quadrotor.vehicle import CRAZYFLIE, GRAVITY, Vehicle

DISCOUNT = 0.99  # of the value whose Hessian "lqr" is
VELOCITY_WEIGHT = 1.0  # [s^2/m^2]
ANGLE_WEIGHT = 0.5  # [1/rad^2]: 2 |q_v|^2 is half the square of a small angle
LEARNED_CRAZYFLIE = (
    (0.998527, -0.067249, -0.313035, -0.070603),
    (-0.067249, 0.987836, -0.067612, -0.303650),
    (-0.313035, -0.067612, 1.007568, -0.068888),
    (-0.070603, -0.303650, -0.068888, 1.006068),
)
"""The metric "fqi": the mean of W learned from 60 flights of 300 steps each, with trace 4.

Within 3 percent, in the spectral norm, of the true value's curvature with trace 4. Rounded to six
decimals, as printed by
`python -m safe_envs.quadrotor.filtered.fitted_q --vehicle crazyflie --seed 0 --out value.npz`.
"""


def learned_metric(vehicle: Vehicle, time_step: float) -> np.ndarray:
    """Return the metric "fqi", (4, 4) in rotor thrusts.

    Raises:
        ValueError: if it was learned with another vehicle or time step.
    """
    if (vehicle, time_step) != (CRAZYFLIE, CONTROL_DT):
        raise ValueError(
            "metric 'fqi' was learned with the Crazyflie, and this is a different vehicle; pass "
            "'lqr', or fit_q(collect_transitions(vehicle=...)).metric() with the functions of "
            "safe_envs.quadrotor.filtered.fitted_q and .transitions; for a Vehicle of your own, "
            "pass 'lqr', which is computed for it"
        )
    return np.array(LEARNED_CRAZYFLIE)


def hover_metric(vehicle: Vehicle, time_step: float, discount: float = DISCOUNT) -> np.ndarray:
    """Return minus the Hessian of the action's value at hover, (4, 4) in rotor thrusts.

        Q(x, u) = -(u'R u + x+'C x+) + discount V(x+),   x+ = A x + B u
        W = 2 (R + B'M B),   M = DARE(sqrt(g) A, sqrt(g) B, C, g R)

    x+'M x+ is the cost of the state reached and of all that follows under optimal control. C and R
    are the reward's weights times the time step; the reward depends on the state reached.

    Args:
        vehicle: the hovering vehicle.
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

    They discretize dv = g (angle_y, -angle_x, 0) + T e3 / m with thrusts held over the time step.
    """
    continuous = np.zeros((16, 16))  # of (state, thrusts)
    continuous[0:3, 3:6] = np.eye(3)
    continuous[3, 7], continuous[4, 6] = GRAVITY, -GRAVITY
    continuous[6:9, 9:12] = np.eye(3)
    continuous[5, 12:] = vehicle.mixer[0] / vehicle.mass
    continuous[9:12, 12:] = np.array(vehicle.accelerations)[1:]
    held: Any = expm(continuous * time_step)
    return held[:12, :12], held[:12, 12:]
