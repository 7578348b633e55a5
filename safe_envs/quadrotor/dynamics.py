"""Rigid-body flight of a quadrotor, one state in plain floats or many in arrays.

    dp/dt = v,   dv/dt = (T/m) R(q) e3 - g e3 + F/m,
    dq/dt = (1/2) q (0, w),   dw/dt = J^-1 (tau - w x J w),

with rotor thrusts u (hence T and tau) and the wind's force F held over a step, by the classical
fourth-order Runge-Kutta method; q is normalized after each substep. A state is position (3) [m],
velocity (3) [m/s], quaternion (w, x, y, z) from body to world, and body rates (3) [rad/s].

Thrust and torques do not depend on p and v, so q and w are integrated by themselves, and the four
stages' thrust directions give v and p: with a_i the acceleration at stage i,

    v' = v + h/6 (a_1 + 2 a_2 + 2 a_3 + a_4),   p' = p + h v + h^2/6 (a_1 + a_2 + a_3).

-J^-1 (w x J w) is a sum of the rates' products: of one each if the body's axes are its principal
axes of inertia, of six each otherwise. Both paths do the same operations in the same order, so
their results are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from safe_envs.quadrotor.vehicle import GRAVITY, Vehicle

STATE_SIZE = 13
BLOCK = 1024  # columns advanced at a time, so that they stay in the CPU cache
Force = tuple[float, float, float]
Slope = Callable[..., tuple[float, ...]]
CALM: Force = (0.0, 0.0, 0.0)


def step(
    vehicle: Vehicle,
    state: Sequence[float],
    u: Sequence[float],
    dt: float,
    substeps: int = 2,
    wind: Force = CALM,
) -> tuple[float, ...]:
    """Return the state after dt, (13,).

    Args:
        vehicle: the model.
        state: (13,) floats.
        u: rotor thrusts as shares of the largest, (4,).
        dt: [s].
        substeps: Runge-Kutta steps within dt.
        wind: force on the vehicle [N].
    """
    lift, turn_x, turn_y, turn_z = (
        row[0] * u[0] + row[1] * u[1] + row[2] * u[2] + row[3] * u[3]
        for row in vehicle.accelerations
    )
    half_turns = (0.5 * turn_x, 0.5 * turn_y, 0.5 * turn_z)
    factors, slope = _rate_factors(vehicle)
    push_x, push_y = wind[0] / vehicle.mass, wind[1] / vehicle.mass
    push_z = (wind[2] / vehicle.mass - GRAVITY) + lift
    h = dt / substeps
    to_v, to_p = h / 6.0 * (2.0 * lift), h * h / 6.0 * (2.0 * lift)
    half_square = 0.5 * h * h
    x, y, z, vx, vy, vz = state[:6]
    rotation = (*state[6:10], 0.5 * state[10], 0.5 * state[11], 0.5 * state[12])
    for _ in range(substeps):
        rotation, (nx, ny, nz), (lx, ly, lz) = _rotate(rotation, half_turns, factors, h, slope)
        x = x + h * vx + to_p * nx + half_square * push_x
        y = y + h * vy + to_p * ny + half_square * push_y
        z = z + h * vz + to_p * nz + half_square * push_z
        vx = vx + to_v * lx + h * push_x
        vy = vy + to_v * ly + h * push_y
        vz = vz + to_v * lz + h * push_z
    q0, q1, q2, q3, a, b, c = rotation
    return x, y, z, vx, vy, vz, q0, q1, q2, q3, 2.0 * a, 2.0 * b, 2.0 * c


def _rotate(
    rotation: Sequence[float], turns: Force, factors: Sequence[Any], h: float, slope: Slope
) -> tuple[tuple[float, ...], Force, Force]:
    """Return (q, w/2) after h, and the thrust directions' sums for position and for velocity."""
    q0, q1, q2, q3, a, b, c = rotation
    half, sixth = 0.5 * h, h / 6.0
    s0, s1, s2, s3, sa, sb, sc, nx, ny, nz = slope(q0, q1, q2, q3, a, b, c, turns, factors)
    t0, t1, t2, t3, ta, tb, tc, ox, oy, oz = slope(
        q0 + half * s0, q1 + half * s1, q2 + half * s2, q3 + half * s3,
        a + half * sa, b + half * sb, c + half * sc, turns, factors,
    )  # fmt: skip
    u0, u1, u2, u3, ua, ub, uc, px, py, pz = slope(
        q0 + half * t0, q1 + half * t1, q2 + half * t2, q3 + half * t3,
        a + half * ta, b + half * tb, c + half * tc, turns, factors,
    )  # fmt: skip
    v0, v1, v2, v3, va, vb, vc, rx, ry, rz = slope(
        q0 + h * u0, q1 + h * u1, q2 + h * u2, q3 + h * u3,
        a + h * ua, b + h * ub, c + h * uc, turns, factors,
    )  # fmt: skip
    q0 = q0 + sixth * (s0 + 2.0 * t0 + 2.0 * u0 + v0)
    q1 = q1 + sixth * (s1 + 2.0 * t1 + 2.0 * u1 + v1)
    q2 = q2 + sixth * (s2 + 2.0 * t2 + 2.0 * u2 + v2)
    q3 = q3 + sixth * (s3 + 2.0 * t3 + 2.0 * u3 + v3)
    a = a + sixth * (sa + 2.0 * ta + 2.0 * ua + va)
    b = b + sixth * (sb + 2.0 * tb + 2.0 * ub + vb)
    c = c + sixth * (sc + 2.0 * tc + 2.0 * uc + vc)
    norm = math.sqrt(q0 * q0 + q1 * q1 + q2 * q2 + q3 * q3)
    to_position = (nx + ox + px, ny + oy + py, nz + oz + pz)
    to_velocity = (
        nx + 2.0 * ox + 2.0 * px + rx,
        ny + 2.0 * oy + 2.0 * py + ry,
        nz + 2.0 * oz + 2.0 * pz + rz,
    )
    return (q0 / norm, q1 / norm, q2 / norm, q3 / norm, a, b, c), to_position, to_velocity


def _slope(
    q0: float,
    q1: float,
    q2: float,
    q3: float,
    a: float,
    b: float,
    c: float,
    turns: Force,
    factors: Sequence[float],
) -> tuple[float, ...]:
    """Return the derivatives of (q, w/2) and the thrust's direction without its rest, (10,).

    With w/2 = (a, b, c), dq/dt = q (0, w/2); R e3 = e3 + 2 d and the d returned here is
    (q1 q3 + q0 q2, q2 q3 - q0 q1, -(q1^2 + q2^2)).
    """
    return (
        -(q1 * a + q2 * b + q3 * c),
        q2 * c - q3 * b + q0 * a,
        q3 * a - q1 * c + q0 * b,
        q1 * b - q2 * a + q0 * c,
        factors[0] * (b * c) + turns[0],
        factors[1] * (c * a) + turns[1],
        factors[2] * (a * b) + turns[2],
        q1 * q3 + q0 * q2,
        q2 * q3 - q0 * q1,
        -(q1 * q1 + q2 * q2),
    )


def _slope_with_products(
    q0: float,
    q1: float,
    q2: float,
    q3: float,
    a: float,
    b: float,
    c: float,
    turns: Force,
    factors: Sequence[Sequence[float]],
) -> tuple[float, ...]:
    """Return what `_slope` returns, for axes that are not the principal axes of inertia."""
    bc, ca, ab, aa, bb, cc = b * c, c * a, a * b, a * a, b * b, c * c
    turn_a, turn_b, turn_c = (
        f1 * bc + f2 * ca + f3 * ab + f4 * aa + f5 * bb + f6 * cc + turn
        for (f1, f2, f3, f4, f5, f6), turn in zip(factors, turns, strict=True)
    )
    return (
        -(q1 * a + q2 * b + q3 * c),
        q2 * c - q3 * b + q0 * a,
        q3 * a - q1 * c + q0 * b,
        q1 * b - q2 * a + q0 * c,
        turn_a,
        turn_b,
        turn_c,
        q1 * q3 + q0 * q2,
        q2 * q3 - q0 * q1,
        -(q1 * q1 + q2 * q2),
    )


def _rate_factors(vehicle: Vehicle) -> tuple[tuple[Any, ...], Slope]:
    """Return twice the factors of the rates' products, (3,) or (3, 6), and who takes them."""
    if vehicle.has_products:
        table = tuple(tuple(2.0 * factor for factor in row) for row in vehicle.rate_products)
        return table, _slope_with_products
    return tuple(2.0 * factor for factor in vehicle.gyroscopic), _slope


def step_batch(
    vehicle: Vehicle,
    states: np.ndarray,
    u: np.ndarray,
    dt: float,
    substeps: int = 2,
    wind: np.ndarray | None = None,
) -> np.ndarray:
    """Return the states after dt, (13, N), one column each.

    Args:
        vehicle: the model.
        states: (13, N) float64; rows contiguous for speed.
        u: rotor thrusts as shares of the largest, (4, N).
        dt: [s].
        substeps: Runge-Kutta steps within dt.
        wind: forces on the vehicles [N], (3, N); None for calm air.
    """
    reached = np.empty(states.shape)
    count = states.shape[1]
    scratch = _Scratch(min(count, BLOCK))
    for start in range(0, count, BLOCK):
        columns = slice(start, min(start + BLOCK, count))
        if columns.stop - columns.start != scratch.count:
            scratch = _Scratch(columns.stop - columns.start)
        force = None if wind is None else wind[:, columns]
        scratch.advance(
            vehicle, states[:, columns], u[:, columns], dt, substeps, force, reached[:, columns]
        )
    return reached


class _Scratch:
    """Memory for a block of columns, and the steps that fill it.

    `now`, `trial` and `slope` hold q0..q3, q1, q2, a, b, c, a, b in their rows, where w/2 =
    (a, b, c): with two rows repeated, all cyclic shifts of a vector's entries are plain slices.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.now, self.trial, self.slope, self.total = (np.zeros((11, count)) for _ in range(4))
        self.vector, self.direction, self.to_position, self.to_velocity = (
            np.empty((3, count)) for _ in range(4)
        )
        self.row = np.empty(count)

    def advance(
        self,
        vehicle: Vehicle,
        states: np.ndarray,
        u: np.ndarray,
        dt: float,
        substeps: int,
        wind: np.ndarray | None,
        reached: np.ndarray,
    ) -> None:
        """Write the states after dt into `reached`, (13, count)."""
        h = dt / substeps
        table = np.array(vehicle.accelerations)
        given = table[:, :1] * u[0]  # (4, count) m/s^2 and rad/s^2
        for rotor in (1, 2, 3):
            given += table[:, rotor : rotor + 1] * u[rotor]
        lift, turns = given[0], 0.5 * given[1:]
        factors = np.array(_rate_factors(vehicle)[0]).reshape(3, -1)
        push = np.zeros((3, self.count)) if wind is None else wind / vehicle.mass
        push[2] -= GRAVITY
        push[2] += lift
        lift *= 2.0
        to_v, to_p = h / 6.0 * lift, h * h / 6.0 * lift
        push_p = 0.5 * h * h * push
        push_v = np.multiply(push, h, out=push)
        position, velocity = reached[:3], reached[3:6]
        reached[:6] = states[:6]
        now = self.now
        now[:4] = states[6:10]
        now[4:6] = now[1:3]
        np.multiply(states[10:], 0.5, out=now[6:9])
        now[9:11] = now[6:8]
        for _ in range(substeps):
            self._rotate(turns, factors, h)
            position += np.multiply(velocity, h, out=self.vector)
            position += np.multiply(self.to_position, to_p, out=self.to_position)
            position += push_p
            velocity += np.multiply(self.to_velocity, to_v, out=self.to_velocity)
            velocity += push_v
        reached[6:10] = now[:4]
        np.multiply(now[6:9], 2.0, out=reached[10:])

    def _rotate(self, turns: np.ndarray, factors: np.ndarray, h: float) -> None:
        """Advance `now` by h; sum the thrust directions for position and for velocity."""
        now, trial, slope, total = self.now, self.trial, self.slope, self.total
        self._slope(now, turns, factors, self.to_position)
        np.copyto(self.to_velocity, self.to_position)
        np.copyto(total, slope)
        for length in (0.5 * h, 0.5 * h):
            np.multiply(slope, length, out=trial)
            trial += now
            self._slope(trial, turns, factors, self.direction)
            self.to_position += self.direction
            self.direction *= 2.0
            self.to_velocity += self.direction
            total += np.multiply(slope, 2.0, out=trial)
        np.multiply(slope, h, out=trial)
        trial += now
        self._slope(trial, turns, factors, self.direction)
        self.to_velocity += self.direction
        total += slope
        total *= h / 6.0
        now += total
        squares = np.multiply(now[:4], now[:4], out=trial[:4])
        norm = np.add(squares[0], squares[1], out=self.row)
        norm += squares[2]
        norm += squares[3]
        now[:4] /= np.sqrt(norm, out=norm)
        now[4:6] = now[1:3]

    def _slope(
        self, at: np.ndarray, turns: np.ndarray, factors: np.ndarray, direction: np.ndarray
    ) -> None:
        """Write what the function `_slope` returns into `slope` and `direction`."""
        slope, vector, row = self.slope, self.vector, self.row
        q0, quaternion, rates = at[0], at[1:4], at[6:9]
        np.multiply(quaternion, rates, out=vector)
        np.add(vector[0], vector[1], out=row)
        row += vector[2]
        np.negative(row, out=slope[0])
        cross = np.multiply(at[2:5], at[8:11], out=slope[1:4])
        cross -= np.multiply(at[3:6], at[7:10], out=vector)
        cross += np.multiply(q0, rates, out=vector)
        turning = np.multiply(at[7:10], at[8:11], out=slope[6:9])
        if factors.shape[1] == 1:
            turning *= factors
        else:
            _sum_products(rates, factors, turning)
        turning += turns
        slope[4:6] = slope[1:3]
        slope[9:11] = slope[6:8]
        np.multiply(at[1:3], at[3], out=direction[:2])
        np.multiply(at[2:0:-1], q0, out=vector[:2])
        direction[0] += vector[0]
        direction[1] -= vector[1]
        np.multiply(at[1:3], at[1:3], out=vector[:2])
        np.add(vector[0], vector[1], out=row)
        np.negative(row, out=direction[2])


def _sum_products(rates: np.ndarray, factors: np.ndarray, turning: np.ndarray) -> None:
    """Replace (bc, ca, ab) in `turning` by their sum and that of the squares, with the factors."""
    products = np.concatenate([turning, rates * rates])  # (6, count)
    np.multiply(factors[:, :1], products[0], out=turning)
    for column in range(1, 6):
        turning += factors[:, column : column + 1] * products[column]
