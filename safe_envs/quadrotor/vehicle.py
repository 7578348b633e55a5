"""Parameters of quadrotors with four fixed rotors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

GRAVITY = 9.81  # [m/s^2]


@dataclass(frozen=True)
class Vehicle:
    """A rigid body with four rotors that push along its z axis.

    Rotor i pushes with largest_thrust * u_i, u_i in [0, 1], and its drag turns the body about z
    with spin_i * torque_ratio times that thrust. Axes: x ahead, y to the left, z up.

    Args:
        mass: [kg].
        inertia: about x, y and z, (3,) [kg m^2].
        rotor_x: x positions of the rotors, (4,) [m].
        rotor_y: y positions of the rotors, (4,) [m].
        spin: sign of each rotor's drag torque about z, (4,).
        torque_ratio: drag torque over thrust [m].
        largest_thrust: of one rotor [N].
        radius: of the sphere around the body that must stay clear of obstacles [m].
    """

    mass: float
    inertia: tuple[float, float, float]
    rotor_x: tuple[float, float, float, float]
    rotor_y: tuple[float, float, float, float]
    spin: tuple[float, float, float, float]
    torque_ratio: float
    largest_thrust: float
    radius: float

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
    def mixer_rows(self) -> tuple[tuple[float, ...], ...]:
        """The mixer as plain floats."""
        return tuple(map(tuple, self.mixer.tolist()))

    @cached_property
    def accelerations(self) -> tuple[tuple[float, ...], ...]:
        """The mixer over mass and inertia, (4, 4): accelerations per unit of u [m/s^2, rad/s^2]."""
        divisors = np.array((self.mass, *self.inertia))
        return tuple(map(tuple, (self.mixer / divisors[:, None]).tolist()))

    @cached_property
    def gyroscopic(self) -> tuple[float, float, float]:
        """The factors of w_y w_z, w_z w_x and w_x w_y in the angular acceleration, (3,)."""
        x, y, z = self.inertia
        return (y - z) / x, (z - x) / y, (x - y) / z

    @property
    def hover_thrust(self) -> float:
        """The u_i at which the four rotors carry the weight."""
        return self.mass * GRAVITY / (4.0 * self.largest_thrust)


def _cross_shaped(
    mass: float,
    inertia: tuple[float, float, float],
    arm: float,
    torque_ratio: float,
    thrust_to_weight: float,
    radius: float,
) -> Vehicle:
    """Return a vehicle with rotors front right, rear right, rear left and front left."""
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


CRAZYFLIE = _cross_shaped(
    mass=0.027,
    inertia=(1.4e-5, 1.4e-5, 2.17e-5),
    arm=0.0397,
    torque_ratio=7.94e-12 / 3.16e-10,
    thrust_to_weight=2.25,
    radius=0.06,
)
"""Crazyflie 2.x. Source: cf2x.urdf of gym-pybullet-drones, after arXiv 1608.05786."""

HUMMINGBIRD = _cross_shaped(
    mass=0.5,
    inertia=(3.65e-3, 3.68e-3, 7.03e-3),
    arm=0.17,
    torque_ratio=1.36e-7 / 5.57e-6,
    thrust_to_weight=4.0,
    radius=0.27,
)
"""AscTec Hummingbird. Source: hummingbird_params.py of rotorpy; thrust-to-weight is our choice."""

VEHICLES = {"crazyflie": CRAZYFLIE, "hummingbird": HUMMINGBIRD}
