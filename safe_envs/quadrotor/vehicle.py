"""Parameters of quadrotors with four fixed rotors and any center of mass."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from safe_envs.contract.argument_checks import check_not_negative, check_positive, checked_array
from safe_envs.quadrotor.rigid_body import checked_inertia, coriolis, shifted_inertia

GRAVITY = 9.81  # [m/s^2]
Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class Vehicle:
    """A rigid body with four rotors that push along its z axis.

    Rotor i pushes with largest_thrust * u_i, u_i in [0, 1], and its drag turns the body about z
    with spin_i * torque_ratio times that thrust. Axes: x ahead, y to the left, z up, from the
    center of mass. The rotors' height above it does not matter: they push along z alone.

    Args:
        mass: [kg].
        inertia: about the center of mass: the moments about x, y and z, (3,), or the full matrix,
            (3, 3) [kg m^2]; afterward the moments only.
        rotor_x: x positions of the rotors from the center of mass, (4,) [m].
        rotor_y: y positions of the rotors from the center of mass, (4,) [m].
        spin: sign of each rotor's drag torque about z, (4,).
        torque_ratio: drag torque over thrust [m].
        largest_thrust: of one rotor [N].
        radius: of the sphere around the center of mass that must stay clear of obstacles [m].
        products: the entries xy, xz and yz of the inertia matrix, (3,) [kg m^2]; read from
            `inertia` if that is a matrix.

    Raises:
        ValueError: if a number is out of its range, no rigid body has this inertia, or the rotors
            cannot set thrust and the three torques independently.

    Example:
        >>> import numpy as np
        >>> from safe_envs.quadrotor.vehicle import CRAZYFLIE
        >>> loaded = CRAZYFLIE.with_payload(0.004, (0.01, 0.0, -0.02))
        >>> np.array(loaded.hover_thrusts).round(2).tolist()  # more at the front
        [0.54, 0.48, 0.48, 0.54]
    """

    mass: float
    inertia: tuple[float, float, float]
    rotor_x: Four
    rotor_y: Four
    spin: Four
    torque_ratio: float
    largest_thrust: float
    radius: float
    products: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        check_positive(mass=self.mass, torque_ratio=self.torque_ratio)
        check_positive(largest_thrust=self.largest_thrust)
        check_not_negative(radius=self.radius)
        for name in ("mass", "torque_ratio", "largest_thrust", "radius"):
            object.__setattr__(self, name, float(getattr(self, name)))  # float32 stays float32
        moments, products = checked_inertia(self.inertia, self.products)
        object.__setattr__(self, "inertia", moments)
        object.__setattr__(self, "products", products)
        for name in ("rotor_x", "rotor_y", "spin"):
            entries = checked_array(name, getattr(self, name), (4,), "one for each rotor")
            object.__setattr__(self, name, tuple(entries.tolist()))
        if set(self.spin) - {1.0, -1.0}:
            raise ValueError(f"spin is {self.spin}; pass 1 or -1 for each rotor")
        if not np.linalg.cond(_scaled_rows(self)) < 1e6:
            raise ValueError(
                f"rotors at x {self.rotor_x}, y {self.rotor_y} with spins {self.spin} cannot set "
                "thrust and the torques about x, y and z independently; move a rotor or reverse "
                "the spin of one"
            )

    def with_center_of_mass(self, x: float, y: float) -> Vehicle:
        """Return the vehicle with its center of mass at (x, y) of this one [m].

        Mass and inertia about the center of mass stay as they are, and `radius` grows by the
        distance, so that it still encloses the same body.
        """
        there = checked_array("the center of mass", (x, y), (2,))
        return replace(
            self,
            rotor_x=_less(self.rotor_x, there[0]),
            rotor_y=_less(self.rotor_y, there[1]),
            radius=self.radius + float(np.hypot(*there)),
        )

    def with_payload(self, mass: float, position: Iterable[float]) -> Vehicle:
        """Return the vehicle with a point mass attached to it.

        The center of mass, the inertia about it and `radius`, which encloses the body and the
        payload, are updated.

        Args:
            mass: of the payload [kg].
            position: from the current center of mass, (3,) [m].
        """
        check_positive(mass=mass)
        place = checked_array("position", tuple(position), (3,), "from the center of mass")
        total = self.mass + mass
        moved = (mass / total) * place
        own = shifted_inertia(self.inertia_matrix, self.mass, moved)
        body = self.radius + float(np.linalg.norm(moved))
        moments, products = checked_inertia(
            shifted_inertia(own, mass, place - moved), (0.0, 0.0, 0.0)
        )
        return replace(
            self,
            mass=total,
            inertia=moments,
            products=products,
            rotor_x=_less(self.rotor_x, moved[0]),
            rotor_y=_less(self.rotor_y, moved[1]),
            radius=max(body, float(np.linalg.norm(place - moved))),
        )

    def check_hovers(self) -> None:
        """Check that the rotors can carry the weight without turning the body.

        Raises:
            ValueError: if they are too weak, or one of them would have to push too hard or pull.
        """
        lift, weight = 4.0 * self.largest_thrust, self.mass * GRAVITY
        if not lift > weight:
            raise ValueError(
                f"the four rotors lift {lift:.4g} N together, but the vehicle weighs {weight:.4g} "
                "N; pass a larger largest_thrust or less mass"
            )
        for i, share in enumerate(self.hover_thrusts):
            if not 0.0 < share < 1.0:
                raise ValueError(
                    f"to hover, the rotor at x {self.rotor_x[i]:.4g} m, y {self.rotor_y[i]:.4g} m "
                    f"from the center of mass would need {share:.3g} of its largest thrust, but "
                    "it must be greater than 0 and less than 1; move the center of mass closer to "
                    "the middle of the rotors, or pass a larger largest_thrust"
                )

    @property
    def has_products(self) -> bool:
        """Whether the axes of the body are not its principal axes of inertia."""
        return any(self.products)

    @cached_property
    def inertia_matrix(self) -> np.ndarray:
        """J, (3, 3) [kg m^2], read-only."""
        matrix = np.diag(self.inertia)
        xy, xz, yz = self.products
        matrix[[0, 1], [1, 0]], matrix[[0, 2], [2, 0]], matrix[[1, 2], [2, 1]] = xy, xz, yz
        matrix.setflags(write=False)
        return matrix

    @cached_property
    def mixer(self) -> np.ndarray:
        """The matrix of (thrust, torque x, y, z) = mixer @ u, (4, 4) [N, N m], read-only."""
        rows = (
            np.ones(4),
            np.array(self.rotor_y),
            -np.array(self.rotor_x),
            self.torque_ratio * np.array(self.spin),
        )
        mixer = self.largest_thrust * np.stack(rows)
        mixer.setflags(write=False)
        return mixer

    @cached_property
    def tilt_mixer(self) -> np.ndarray:
        """The matrix of (thrust, roll, pitch) = tilt_mixer @ u, (3, 4), read-only.

        Roll and pitch are torques [N m], or, if the vehicle `has_products`, angular accelerations
        [rad/s^2], which then depend on all three torques.
        """
        rows = self.mixer[:3].copy()
        if self.has_products:
            rows[1:] = np.array(self.accelerations)[1:3]
        rows.setflags(write=False)
        return rows

    @cached_property
    def tilt_rows(self) -> tuple[tuple[float, ...], ...]:
        """`tilt_mixer` as plain floats."""
        return tuple(map(tuple, self.tilt_mixer.tolist()))

    @cached_property
    def accelerations(self) -> tuple[tuple[float, ...], ...]:
        """The mixer over mass and inertia, (4, 4): accelerations per unit of u [m/s^2, rad/s^2]."""
        divisors = np.array((self.mass, *self.inertia))
        table = self.mixer / divisors[:, None]
        if self.has_products:
            table[1:] = np.linalg.solve(self.inertia_matrix, self.mixer[1:])
        return tuple(map(tuple, table.tolist()))

    @cached_property
    def gyroscopic(self) -> tuple[float, float, float]:
        """The factors of w_y w_z, w_z w_x and w_x w_y in the angular acceleration, (3,).

        They are all there is unless the vehicle `has_products`; see `rate_products`.
        """
        x, y, z = self.inertia
        return (y - z) / x, (z - x) / y, (x - y) / z

    @cached_property
    def rate_products(self) -> tuple[tuple[float, ...], ...]:
        """The factors in the angular acceleration -J^-1 (w x J w), (3, 6).

        Of w_y w_z, w_z w_x, w_x w_y, w_x^2, w_y^2 and w_z^2.
        """
        table = np.zeros((3, 6))
        table[:, :3] = np.diag(self.gyroscopic)
        if self.has_products:
            table = -np.linalg.solve(self.inertia_matrix, coriolis(self.inertia_matrix))
        return tuple(map(tuple, table.tolist()))

    @cached_property
    def longest_arm(self) -> float:
        """The largest distance of a rotor from the center of mass [m]."""
        return max(map(math.hypot, self.rotor_x, self.rotor_y))

    @property
    def hover_thrust(self) -> float:
        """The mean of the u_i at which the four rotors carry the weight."""
        return self.mass * GRAVITY / (4.0 * self.largest_thrust)

    @cached_property
    def hover_thrusts(self) -> Four:
        """The u_i at which the rotors carry the weight without torque, (4,)."""
        if not any(map(sum, (self.rotor_x, self.rotor_y, self.spin))):
            same = self.hover_thrust
            return same, same, same, same
        u1, u2, u3, u4 = np.linalg.solve(self.mixer, [self.mass * GRAVITY, 0.0, 0.0, 0.0]).tolist()
        return u1, u2, u3, u4


def _less(positions: Four, moved: float) -> Four:
    a, b, c, d = (position - float(moved) for position in positions)
    return a, b, c, d


def _scaled_rows(vehicle: Vehicle) -> np.ndarray:
    """Return the mixer's rows without units, (4, 4)."""
    x, y = np.array(vehicle.rotor_x), np.array(vehicle.rotor_y)
    reach = max(float(np.hypot(x, y).max()), np.finfo(np.float64).tiny)
    return np.stack([np.ones(4), y / reach, -x / reach, np.array(vehicle.spin)])


def cross_shaped(
    mass: float,
    inertia: tuple[float, float, float],
    arm: float,
    torque_ratio: float,
    thrust_to_weight: float,
    radius: float,
) -> Vehicle:
    """Return a vehicle with rotors front right, rear right, rear left and front left.

    Args:
        mass: [kg].
        inertia: as for `Vehicle`.
        arm: distance of the rotors from the center of mass [m].
        torque_ratio: drag torque over thrust [m].
        thrust_to_weight: of all four rotors together.
        radius: of the sphere that must stay clear of obstacles [m].
    """
    reach = arm / 2.0**0.5
    return Vehicle(
        mass=mass,
        inertia=inertia,
        rotor_x=(reach, -reach, -reach, reach),
        rotor_y=(-reach, -reach, reach, reach),
        spin=(-1.0, 1.0, -1.0, 1.0),
        torque_ratio=torque_ratio,
        largest_thrust=thrust_to_weight * mass * GRAVITY / 4.0,
        radius=radius,
    )


CRAZYFLIE = cross_shaped(
    mass=0.027,
    inertia=(1.4e-5, 1.4e-5, 2.17e-5),
    arm=0.0397,
    torque_ratio=7.94e-12 / 3.16e-10,
    thrust_to_weight=2.25,
    radius=0.06,
)
"""Crazyflie 2.x. Source: cf2x.urdf of gym-pybullet-drones, after arXiv 1608.05786."""

HUMMINGBIRD = cross_shaped(
    mass=0.5,
    inertia=(3.65e-3, 3.68e-3, 7.03e-3),
    arm=0.17,
    torque_ratio=1.36e-7 / 5.57e-6,
    thrust_to_weight=4.0,
    radius=0.27,
)
"""AscTec Hummingbird. Source: hummingbird_params.py of rotorpy; thrust-to-weight is our choice."""

VEHICLES = {"crazyflie": CRAZYFLIE, "hummingbird": HUMMINGBIRD}
