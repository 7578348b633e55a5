"""A tracking controller on the rotation group, which ignores obstacles.

Source: Lee, Leok and McClamroch, "Geometric tracking control of a quadrotor UAV on SE(3)"
(CDC 2010), with the desired rates from the reference's jerk.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from safe_envs.quadrotor.body_axes import Axes, Vector, body_axes
from safe_envs.quadrotor.reference import FigureEight, Number
from safe_envs.quadrotor.vehicle import GRAVITY, Vehicle

POSITION_GAIN = 6.0  # [1/s^2]; this and the following gains are our choice
VELOCITY_GAIN = 4.0  # [1/s]
TILT_GAIN = 300.0  # [1/s^2]
TILT_RATE_GAIN = 28.0  # [1/s]
YAW_GAIN = 60.0  # [1/s^2]
YAW_RATE_GAIN = 12.0  # [1/s]


class GeometricLaw:
    """Thrusts that follow a reference, the vehicle's nose along the world's x axis.

    With a = p_d'' + k_p (p_d - p) + k_v (p_d' - p') + g e3, the thrust is T = m a . b3 and the
    desired attitude R_d has its z axis along a and no yaw. The desired rates w_d turn a's direction
    by a' = p_d''', the reference's jerk in the middle of the time the thrusts are held. With
    e_R = (1/2) vee(R_d^T R - R^T R_d) and e_w = w - R^T w_d,

        tau = -J (k_R e_R + k_w e_w) + w x J w,   u = clip(mixer^-1 (T, tau), 0, 1).

    The Crazyflie follows its figure eight with a root-mean-square error of 2.5 mm.

    Args:
        vehicle: the model.
        reference: the trajectory to follow.
        dt: time for which thrusts are held [s].
    """

    def __init__(self, vehicle: Vehicle, reference: FigureEight, dt: float) -> None:
        self.vehicle = vehicle
        self.reference = reference
        self.dt = dt
        self._allocation = np.linalg.inv(vehicle.mixer)
        self._rows = tuple(map(tuple, self._allocation.tolist()))
        self._ahead = reference.phase(0.5 * dt)

    def __call__(self, state: np.ndarray, time: float) -> np.ndarray:
        """Return the thrusts u in one state (13,) at a time [s], (4,)."""
        numbers: list[float] = np.asarray(state, dtype=np.float64).tolist()
        t, x, y, z = self._wrench(numbers, *self.reference.phase(time))
        shares = [a * t + b * x + c * y + d * z for a, b, c, d in self._rows]
        return np.array([min(max(share, 0.0), 1.0) for share in shares])

    def batch(self, states: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the thrusts u in states (13, N) at times (N,), (4, N)."""
        angle = self.reference.rate * np.asarray(times, dtype=np.float64)
        wrench = self._wrench(states, np.cos(angle), np.sin(angle))
        return np.clip(self._allocation @ np.stack(wrench), 0.0, 1.0)

    def _wrench(
        self, state: Iterable[Number], cos: Number, sin: Number
    ) -> tuple[Number, Number, Number, Number]:
        """Return thrust [N] and torques [N m]: numbers, or rows of N numbers."""
        x, y, z, vx, vy, vz, q0, q1, q2, q3, w1, w2, w3 = state
        body = body_axes(q0, q1, q2, q3)
        px, py, pvx, pvy = self.reference.planar(cos, sin)
        along, across = -(self.reference.rate**2), -4.0 * self.reference.rate**2
        push = (
            along * px + POSITION_GAIN * (px - x) + VELOCITY_GAIN * (pvx - vx),
            across * py + POSITION_GAIN * (py - y) + VELOCITY_GAIN * (pvy - vy),
            GRAVITY + POSITION_GAIN * (self.reference.height - z) - VELOCITY_GAIN * vz,
        )
        cos_ahead, sin_ahead = self._ahead
        _, _, jx, jy = self.reference.planar(
            cos * cos_ahead - sin * sin_ahead, sin * cos_ahead + cos * sin_ahead
        )
        wanted, turn = _wanted_attitude(push, along * jx, across * jy)
        e1, e2, e3 = _attitude_error(wanted, body)
        e_w1, e_w2, e_w3 = (
            w1 - _dot(turn, body[0]),
            w2 - _dot(turn, body[1]),
            w3 - _dot(turn, body[2]),
        )
        errors = (
            TILT_GAIN * e1 + TILT_RATE_GAIN * e_w1,
            TILT_GAIN * e2 + TILT_RATE_GAIN * e_w2,
            YAW_GAIN * e3 + YAW_RATE_GAIN * e_w3,
        )
        x_torque, y_torque, z_torque = _torque(self.vehicle, (w1, w2, w3), errors)
        return self.vehicle.mass * _dot(push, body[2]), x_torque, y_torque, z_torque


def _wanted_attitude(
    push: Vector[Number], jerk_x: Number, jerk_y: Number
) -> tuple[Axes[Number], Vector[Number]]:
    """Return the axes whose z axis is along `push`, without yaw, and their rates in the world.

    d3' = (a' - (a' . d3) d3) / |a| = w_d x d3, and w_d has no component along d3.
    """
    size = _dot(push, push) ** 0.5
    x, y, z = push[0] / size, push[1] / size, push[2] / size
    flat = (y * y + z * z) ** 0.5
    d2 = (0.0 * flat, z / flat, -(y / flat))  # d3 x e1, normalized
    d1 = (flat, -(x * y) / flat, -(x * z) / flat)  # d2 x d3
    rate_1 = -(jerk_x * d2[0] + jerk_y * d2[1]) / size
    rate_2 = (jerk_x * d1[0] + jerk_y * d1[1]) / size
    turn = (
        rate_1 * d1[0] + rate_2 * d2[0],
        rate_1 * d1[1] + rate_2 * d2[1],
        rate_1 * d1[2] + rate_2 * d2[2],
    )
    return (d1, d2, (x, y, z)), turn


def _attitude_error(wanted: Axes[Number], body: Axes[Number]) -> Vector[Number]:
    """Return (1/2) vee(R_d^T R - R^T R_d)."""
    d1, d2, d3 = wanted
    b1, b2, b3 = body
    return (
        0.5 * (_dot(d3, b2) - _dot(d2, b3)),
        0.5 * (_dot(d1, b3) - _dot(d3, b1)),
        0.5 * (_dot(d2, b1) - _dot(d1, b2)),
    )


def _torque(vehicle: Vehicle, rates: Vector[Number], errors: Vector[Number]) -> Vector[Number]:
    """Return w x J w - J e."""
    (w1, w2, w3), (e1, e2, e3) = rates, errors
    j1, j2, j3 = vehicle.inertia
    if not vehicle.has_products:
        return (
            (j3 - j2) * (w2 * w3) - j1 * e1,
            (j1 - j3) * (w3 * w1) - j2 * e2,
            (j2 - j1) * (w1 * w2) - j3 * e3,
        )
    j12, j13, j23 = vehicle.products
    l1 = j1 * w1 + j12 * w2 + j13 * w3
    l2 = j12 * w1 + j2 * w2 + j23 * w3
    l3 = j13 * w1 + j23 * w2 + j3 * w3
    return (
        (w2 * l3 - w3 * l2) - (j1 * e1 + j12 * e2 + j13 * e3),
        (w3 * l1 - w1 * l3) - (j12 * e1 + j2 * e2 + j23 * e3),
        (w1 * l2 - w2 * l1) - (j13 * e1 + j23 * e2 + j3 * e3),
    )


def _dot(a: Vector[Number], b: Vector[Number]) -> Number:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
