"""The barrier that keeps a quadrotor out of spheres, as rows A u >= b of its rotor thrusts u."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from safe_envs.contract.argument_checks import check_not_negative, is_number
from safe_envs.quadrotor.body_axes import body_axes
from safe_envs.quadrotor.filtered.flight import Flight, flight_of
from safe_envs.quadrotor.vehicle import GRAVITY, Vehicle
from safe_envs.safety_filters.filter_plant import FilterPlant, Rows
from safe_envs.safety_filters.quadratic_program import dot

DEFAULT_GAINS = {2: (6.0, 6.0), 3: (6.0, 6.0, 10.0)}  # [1/s]
MARGIN = 0.03  # [m], enough for the rows of order 3


@dataclass(frozen=True)
class SphereZCBF:
    """Exponential barriers h_i = |p - c_i|^2 - (r_i + margin)^2 of a quadrotor among spheres.

    Order 2, as in section V of Lin and Xu (arXiv 2602.12603), requires
        h'' + (l1 + l2) h' + l1 l2 h >= 0.
    h'' depends on the rotors only through their total thrust. So the filter has no authority when
    a level vehicle is at the height of the obstacle, and on a symmetric vehicle the metric makes
    almost no difference.

    Order 3 requires
        h''' + (l1 + l2 + l3) h'' + (l1 l2 + l1 l3 + l2 l3) h' + l1 l2 l3 h >= 0,
        h'' = 2 |v|^2 + 2 r.a,   h''' = 6 v.a + 2 r.j,   r = p - c_i,
        a = f z - g e3,   j = f (w_y x - w_x y),   f = thrust / mass,
    where x, y, z are the body's axes and w = (w_x, w_y, w_z) the body rates at the end of the step,
    which the torques change. The products f w are linearized at the reference. For a moving sphere,
    v, a and j are relative to its center's at the beginning of the step.

    Differs from the paper: order 3, the gains and the margin are this project's. Order 3
    neglects the thrust's own rate of change, so it does not prove invariance: keep a margin.

    Args:
        order: 2 or 3.
        gains: l1, l2 (and l3) [1/s], all positive; by default (6, 6) or (6, 6, 10).
        margin: added to the radii [m].

    Raises:
        ValueError: if an argument is out of its range.
    """

    order: int = 3
    gains: tuple[float, ...] | None = None
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.order not in DEFAULT_GAINS:
            raise ValueError(f"order is {self.order!r}; pass 2 or 3")
        gains = DEFAULT_GAINS[self.order] if self.gains is None else tuple(self.gains)
        if len(gains) != self.order or not all(map(_is_positive, gains)):
            raise ValueError(
                f"gains are {self.gains!r}; pass {self.order} positive numbers for order "
                f"{self.order}"
            )
        check_not_negative(margin=self.margin)
        object.__setattr__(self, "gains", gains)

    def around(
        self,
        vehicle: Vehicle,
        time_step: float,
        centers: np.ndarray,
        radii: np.ndarray,
        motion: np.ndarray | None = None,
    ) -> SphereRows:
        """Return the rows for spheres of these centers (n, 3) and radii (n,) [m].

        Args:
            vehicle: its mass, inertia and mixer are used.
            time_step: for which an action is held [s].
            centers: [m]; (n, 3, N) for batches in which every state has its own spheres.
            radii: [m], the vehicle's own included.
            motion: velocities, accelerations and jerks of the spheres, (3, n, 3), or (3, n, 3, N);
                None at rest.
        """
        places = np.array(centers, dtype=np.float64)
        grown = np.asarray(radii, dtype=np.float64) + self.margin
        if places.ndim == 3:
            places = np.ascontiguousarray(places.transpose(2, 0, 1))  # (N, n, 3)
        points = np.concatenate([-places, np.ones_like(places[..., :1])], axis=-1)
        levels = self.polynomial[-1] * (grown * grown - (places * places).sum(axis=-1))
        if motion is not None and motion.ndim == 4:
            motion = np.ascontiguousarray(motion.transpose(0, 3, 1, 2))  # (3, N, n, 3)
        return SphereRows(vehicle, time_step, points, levels, self.polynomial, motion)

    def rows_on(self, plant: FilterPlant) -> Callable[[], SphereRows]:
        """Return a function that puts the rows around the present spheres.

        Raises:
            ValueError: if the plant is not a quadrotor.
        """
        flight = flight_of(
            plant,
            "SphereZCBF is for quadrotor environments and this is not one; pass an AffineBarrier "
            "or a function rows(state, reference) -> (A, b)",
        )
        return partial(self._around_spheres_of, flight)

    def _around_spheres_of(self, flight: Flight) -> SphereRows:
        spheres, motion = flight.spheres(), flight.motion()
        return self.around(flight.vehicle, flight.time_step, *spheres, motion)

    @property
    def polynomial(self) -> tuple[float, ...]:
        """Coefficients of (s + l1)(s + l2)... without the leading 1, highest power first."""
        assert self.gains is not None
        return tuple(np.poly([-gain for gain in self.gains])[1:].tolist())


@dataclass(frozen=True, eq=False)
class SphereRows:
    """`SphereZCBF` around given spheres, as a function of the state and the reference.

    A state is (p, v, q, w) with 13 entries: position [m], velocity [m/s], unit quaternion
    (w, x, y, z) from body to world, body rates [rad/s]. Actions are rotor thrusts in [0, 1].

    The barrier's sum is affine in the thrust and the torques, and, apart from one constant per
    sphere, its factors are affine in the center c: with r = p - c,

        a.r + a_0 + c_0 (|r|^2 - R^2) = (a + 2 c_0 p).(-c) + (a.p + a_0 + c_0 |p|^2)
                                        - c_0 (R^2 - |c|^2).
    """

    vehicle: Vehicle
    time_step: float
    points: np.ndarray  # (-c, 1), (n, 4), or (N, n, 4) for batches alone
    levels: np.ndarray  # c_0 (R^2 - |c|^2), (n,) or (N, n)
    polynomial: tuple[float, ...]
    motion: np.ndarray | None = None  # of the spheres, (3, n, 3), or (3, N, n, 3)

    def __call__(self, state: np.ndarray, reference: np.ndarray) -> Rows:
        """Return A (n, 4) and b (n,) at a state (13,) and a reference (4,)."""
        entries = self._table(state.tolist(), self._wrench(reference.tolist()))
        terms = self.points.dot(np.array(entries).reshape(4, 4).T)  # (n, 4)
        if self.motion is not None:
            self._add_motion(terms, self.motion, state)
        return terms[:, :3].dot(self.vehicle.tilt_mixer), self.levels - terms[:, 3]

    def batch(self, states: np.ndarray, references: np.ndarray) -> Rows:
        """Return A (N, n, 4) and b (N, n) at states (13, N) and references (4, N).

        Stacked matrix products give the same bits as single ones, so each state's rows are bit for
        bit those of a single call.
        """
        count = states.shape[1]
        entries = self._table(list(states), self._wrench(list(references)))
        table = np.empty((count, 16))
        for column, entry in enumerate(entries):
            table[:, column] = entry
        terms = self.points @ table.reshape(count, 4, 4).transpose(0, 2, 1)  # (N, n, 4)
        if self.motion is not None:
            self._add_motion(terms, self.motion, states[:, :, None])
        return terms[:, :, :3] @ self.vehicle.tilt_mixer, self.levels - terms[:, :, 3]

    def of(self, column: int | np.ndarray) -> SphereRows:
        """Return the rows around the spheres of one state of a batch, or of some (n,) of them."""
        if self.points.ndim == 2:
            return self
        motion = None if self.motion is None else self.motion[:, column]
        return replace(self, points=self.points[column], levels=self.levels[column], motion=motion)

    def _wrench(self, thrusts: list[Any]) -> list[Any]:
        """Return tilt_mixer @ thrusts, as three floats or arrays."""
        front_right, rear_right, rear_left, front_left = thrusts
        return [
            a * front_right + b * rear_right + c * rear_left + d * front_left
            for a, b, c, d in self.vehicle.tilt_rows
        ]

    def _table(self, state: list[Any], wrench: list[Any]) -> list[Any]:
        """Return the barrier's sum as four affine functions of -c, apart from `levels`.

        The factors of the thrust, the roll torque and the pitch torque, and what does not depend
        on the action, each as (x, y, z, constant). Entries are floats, or arrays (N,) for a batch.

        Args:
            state: 13 floats or arrays.
            wrench: of the reference: thrust, roll and pitch, see `Vehicle.tilt_mixer`.
        """
        px, py, pz = state[:3]
        last = self.polynomial[-1]
        order_2 = len(self.polynomial) == 2
        lift, roll, pitch, free = (self._second if order_2 else self._third)(state, wrench)
        free[3] = free[3] + last * (px * px + py * py + pz * pz)
        table = []
        for x, y, z, constant in (lift, roll, pitch, free):
            table += [x, y, z, x * px + y * py + z * pz + constant]
        for i, place in enumerate((px, py, pz)):
            table[12 + i] = table[12 + i] + 2.0 * last * place
        return table

    def _second(self, state: list[Any], wrench: list[Any]) -> tuple[list[Any], ...]:
        """Return the factors a and a_0 of order 2 in `_table`'s order."""
        _, _, z_axis = body_axes(*state[6:10])
        vx, vy, vz = state[3:6]
        c1 = self.polynomial[0]
        per_mass = 2.0 / self.vehicle.mass
        lift = [per_mass * z for z in z_axis]
        free = [2.0 * c1 * vx, 2.0 * c1 * vy, 2.0 * c1 * vz - 2.0 * GRAVITY]
        speed_square = 2.0 * (vx * vx + vy * vy + vz * vz)
        return [*lift, 0.0], [0.0] * 4, [0.0] * 4, [*free, speed_square]

    def _third(self, state: list[Any], wrench: list[Any]) -> tuple[list[Any], ...]:
        """Return the factors a and a_0 of order 3 in `_table`'s order."""
        axes = body_axes(*state[6:10])
        vx, vy, vz = state[3:6]
        zx, zy, zz = axes[2]
        c2, c1, _ = self.polynomial
        rate_x, rate_y, inverse_x, inverse_y = self._next_rates(state[10:], wrench)
        per_mass = 2.0 / self.vehicle.mass
        specific = per_mass * wrench[0]  # 2 f at the reference
        lift, roll, pitch, free = [], [], [], []
        for x, y, z, v in zip(*axes, (vx, vy, vz), strict=True):
            lift.append(per_mass * (rate_y * x - rate_x * y + c2 * z))
            roll.append(-specific * inverse_x * y)
            pitch.append(specific * inverse_y * x)
            free.append(2.0 * c1 * v - roll[-1] * wrench[1] - pitch[-1] * wrench[2])
        free[2] = free[2] - 2.0 * GRAVITY * c2
        lift.append(3.0 * per_mass * (vx * zx + vy * zy + vz * zz))
        free.append(2.0 * c2 * (vx * vx + vy * vy + vz * vz) - 6.0 * GRAVITY * vz)
        return lift, [*roll, 0.0], [*pitch, 0.0], free

    def _add_motion(self, terms: np.ndarray, motion: np.ndarray, state: np.ndarray) -> None:
        """Add the effect of the spheres' motion to the factors of the thrust and to the rest.

        With u, b and s a center's velocity, acceleration and jerk, order 2 gains

            2 |u|^2 - 4 v.u - 2 r.b - 2 c_1 r.u,

        and order 3, with c_2 times the first three,

            -6 f z.u + 6 g u_z - 6 v.b + 6 u.b - 2 r.s - 2 c_1 r.u.

        Args:
            terms: factors of thrust, roll and pitch, and the rest, (..., n, 4), changed in place.
            motion: (3, ..., n, 3).
            state: 13 floats, or 13 columns (N, 1).
        """
        moved, pushed, jerked = ([part[..., i] for i in range(3)] for part in motion)
        away = [state[i] + self.points[..., i] for i in range(3)]  # r
        velocity = [state[3], state[4], state[5]]
        common = 2.0 * dot(moved, moved) - 4.0 * dot(moved, velocity) - 2.0 * dot(pushed, away)
        if len(self.polynomial) == 2:
            terms[..., 3] += common - 2.0 * self.polynomial[0] * dot(moved, away)
            return
        c2, c1, _ = self.polynomial
        _, _, z_axis = body_axes(state[6], state[7], state[8], state[9])
        terms[..., 0] -= 6.0 / self.vehicle.mass * dot(moved, z_axis)
        rest = c2 * common + 6.0 * GRAVITY * moved[2] - 6.0 * dot(pushed, velocity)
        rest += 6.0 * dot(moved, pushed) - 2.0 * dot(jerked, away) - 2.0 * c1 * dot(moved, away)
        terms[..., 3] += rest

    def _next_rates(self, rates: list[Any], wrench: list[Any]) -> tuple[Any, Any, float, float]:
        """Return w_x, w_y after the step with the reference, and their derivatives by its tilts.

        w' = w + dt J^-1 (tau - w x J w)
        """
        wx, wy, wz = rates
        if self.vehicle.has_products:
            products = (wy * wz, wz * wx, wx * wy, wx * wx, wy * wy, wz * wz)
            roll, pitch, _ = self.vehicle.rate_products
            rate_x = wx + self.time_step * (wrench[1] + dot(roll, products))
            rate_y = wy + self.time_step * (wrench[2] + dot(pitch, products))
            return rate_x, rate_y, self.time_step, self.time_step
        jx, jy, jz = self.vehicle.inertia
        inverse_x, inverse_y = self.time_step / jx, self.time_step / jy
        rate_x = wx + inverse_x * (wrench[1] - (jz - jy) * wy * wz)
        rate_y = wy + inverse_y * (wrench[2] - (jx - jz) * wz * wx)
        return rate_x, rate_y, inverse_x, inverse_y


def _is_positive(value: Any) -> bool:
    return is_number(value) and 0.0 < value < np.inf
