"""One step of the quadrotor's model with derivatives, for all stages of a horizon at once.

The model is that of `safe_envs.quadrotor.dynamics`, in one step of the classical Runge-Kutta
method of fourth order, after which the quaternion is normalized. With r = (q, w),

    dp/dt = v,   dv/dt = (T/m) R(q) e3 - g e3,   dr/dt = f(r) + J^-1 tau,

where R(q) e3 - e3 and f are quadratic forms. Their derivatives M(r) are therefore linear in r, one
product with a constant table, and they themselves are M(r) r / 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.vehicle import GRAVITY, Vehicle

ROTORS = 4
VELOCITY = slice(3, 6)
QUATERNION = slice(6, 10)
ROTATION = slice(6, 13)


class Linearization(NamedTuple):
    """x+ = F(x, u) and its derivatives, at N states and thrusts."""

    reached: np.ndarray  # F, (N, 13)
    by_state: np.ndarray  # dF/dx, (N, 13, 13)
    by_thrusts: np.ndarray  # dF/du, (N, 13, 4)


class QuadrotorPrediction:
    """The model's step F of `time_step` seconds with constant thrusts.

    Args:
        vehicle: the model.
        time_step: h [s].
    """

    def __init__(self, vehicle: Vehicle, time_step: float) -> None:
        self.vehicle = vehicle
        self.time_step = time_step
        self._given = np.array(vehicle.accelerations)  # (4, 4), of thrust and about three axes
        self._table = _jacobian_table(vehicle)
        self._identity = np.eye(7, 7 + ROTORS)
        self._drift = np.eye(STATE_SIZE, STATE_SIZE + ROTORS)  # without any acceleration
        self._drift[:3, VELOCITY] = time_step * np.eye(3)

    def linearized(self, states: np.ndarray, thrusts: np.ndarray) -> Linearization:
        """Return F and its derivatives at states (N, 13) and thrusts (N, 4).

        Since p and v do not affect the other states, (q, w) is integrated separately, with its
        derivative by (q, w, u); with a_i the acceleration at the method's stage i,

            v+ = v + h/6 (a_1 + 2 a_2 + 2 a_3 + a_4),   p+ = p + h v + h^2/6 (a_1 + a_2 + a_3).
        """
        h, count = self.time_step, len(states)
        given = thrusts @ self._given.T  # T/m and J^-1 tau, (N, 4) [m/s^2, rad/s^2]
        slopes, turns = self._stages(states[:, ROTATION], given)
        to_velocity = (h / 6.0) * np.array((1.0, 2.0, 2.0, 1.0))
        to_position = (h * h / 6.0) * np.array((1.0, 1.0, 1.0, 0.0))
        reached = states.copy()
        reached[:, :3] += h * states[:, VELOCITY]
        reached[:, :3] += (to_position @ slopes.reshape(4, -1)).reshape(count, 10)[:, :3]
        reached[:, 3:] += (to_velocity @ slopes.reshape(4, -1)).reshape(count, 10)
        derivative = np.empty((count, STATE_SIZE, STATE_SIZE + ROTORS))
        derivative[:] = self._drift
        flat = turns.reshape(4, -1)
        derivative[:, :3, 6:] += (to_position @ flat).reshape(count, 10, -1)[:, :3]
        derivative[:, 3:, 6:] += (to_velocity @ flat).reshape(count, 10, -1)
        _normalize(reached, derivative[:, :, 6:])
        return Linearization(reached, derivative[:, :, :STATE_SIZE], derivative[:, :, STATE_SIZE:])

    def _stages(self, rotation: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return d(v, q, w)/dt at the method's four stages and its derivatives by (q, w, u).

        Args:
            rotation: (q, w), (N, 7).
            given: T/m and J^-1 tau, (N, 4).

        Returns:
            (4, N, 10) and (4, N, 10, 11).
        """
        count, lengths = len(rotation), (0.5 * self.time_step, 0.5 * self.time_step, self.time_step)
        jacobians = np.empty((4, count, 10, 7))  # M, of (R e3, dq/dt, dw/dt) by (q, w)
        slopes = np.empty((4, count, 10))
        at = rotation
        for stage in range(4):
            if stage > 0:
                at = rotation + lengths[stage - 1] * slopes[stage - 1, :, 3:]
            np.matmul(at, self._table, out=jacobians[stage].reshape(count, 70))
            np.matmul(jacobians[stage], 0.5 * at[:, :, None], out=slopes[stage, :, :, None])
            slopes[stage, :, 7:] += given[:, 1:]
        slopes[:, :, 2] += 1.0
        by_thrusts = slopes[:, :, :3, None] * self._given[0]  # (4, N, 3, 4)
        slopes[:, :, :3] *= given[:, :1]
        slopes[:, :, 2] -= GRAVITY
        jacobians[:, :, :3] *= given[:, :1, None]
        turns = np.empty((4, count, 10, 7 + ROTORS))
        np.matmul(jacobians[0], self._identity, out=turns[0])
        turns[0, :, 7:, 7:] += self._given[1:]
        for stage in range(1, 4):
            there = self._identity + lengths[stage - 1] * turns[stage - 1, :, 3:]
            np.matmul(jacobians[stage], there, out=turns[stage])
            turns[stage, :, 7:, 7:] += self._given[1:]
        turns[:, :, :3, 7:] += by_thrusts
        return slopes, turns


def _normalize(reached: np.ndarray, derivative: np.ndarray) -> None:
    """Divide the quaternions by their lengths: d(q/|q|) = (I - n n') dq / |q| with n = q/|q|."""
    length = np.linalg.norm(reached[:, QUATERNION], axis=1)
    reached[:, QUATERNION] /= length[:, None]
    n = reached[:, QUATERNION]
    across = (np.eye(4) - n[:, :, None] * n[:, None, :]) / length[:, None, None]
    derivative[:, QUATERNION] = np.matmul(across, derivative[:, QUATERNION])


def _jacobian_table(vehicle: Vehicle) -> np.ndarray:
    """Return d(R(q) e3, dq/dt, dw/dt)/d(q, w) as a linear map of (q, w), (7, 70)."""
    table = np.zeros((7, 10, 7))  # of (q, w); row of the derivative; column of (q, w)
    q0, q1, q2, q3, w1, w2, w3 = range(7)
    products = (  # row, factor and the two entries whose product the row holds
        (0, 2.0, q1, q3), (0, 2.0, q0, q2), (1, 2.0, q2, q3), (1, -2.0, q0, q1),
        (2, -2.0, q1, q1), (2, -2.0, q2, q2),
        (3, -0.5, q1, w1), (3, -0.5, q2, w2), (3, -0.5, q3, w3),
        (4, 0.5, q0, w1), (4, 0.5, q2, w3), (4, -0.5, q3, w2),
        (5, 0.5, q0, w2), (5, 0.5, q3, w1), (5, -0.5, q1, w3),
        (6, 0.5, q0, w3), (6, 0.5, q1, w2), (6, -0.5, q2, w1),
    )  # fmt: skip
    pairs = ((w2, w3), (w3, w1), (w1, w2), (w1, w1), (w2, w2), (w3, w3))
    turns = [
        (row, factor, *pair)
        for row, factors in enumerate(vehicle.rate_products, start=7)
        for factor, pair in zip(factors, pairs, strict=True)
    ]
    for row, factor, i, j in (*products, *turns):
        table[i, row, j] += factor
        table[j, row, i] += factor
    return table.reshape(7, 70)
