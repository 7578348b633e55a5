"""The quadrotor's task and its conditions, shared by the single and the vector form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from safe_envs.contract.argument_checks import (
    check_choice,
    check_not_negative,
    check_positive,
    checked_array,
    closest_hint,
)
from safe_envs.contract.cost_signal import ConstraintSpec, CostLimits, declare_constraints
from safe_envs.quadrotor.obstacles import groups_of
from safe_envs.quadrotor.reference import FIGURE_EIGHTS, FigureEight, Number
from safe_envs.quadrotor.scene import SCENES, Scene, own_scene, stacked_scene
from safe_envs.quadrotor.vehicle import VEHICLES, Vehicle

SceneName = Literal["spheres", "column"]
VehicleName = Literal["crazyflie", "hummingbird"]

CONTROL_DT = 0.01  # [s]
EPISODE_STEPS = 600
COST_LIMIT = 0.0
POSITION_WEIGHT = 10.0  # [1/m^2]
RATE_WEIGHT = 0.02  # [s^2/rad^2]
EFFORT_WEIGHT = 2.0
LARGEST_ERROR = 2.0  # [m] from the reference
LOWEST_HEIGHT = 0.02  # [m]
LEAST_UPRIGHT = math.cos(math.radians(120.0))  # of the body's z axis
LARGEST_STAGE_COST = POSITION_WEIGHT * LARGEST_ERROR * LARGEST_ERROR
DIVERGED = 1e12  # a stage cost that only a failed integration reaches
GUST_TIME = 0.5  # [s] time constant of gusts, our choice


@dataclass(frozen=True)
class FlightTask:
    """The arguments of both forms, checked and resolved.

    Args:
        scene: the obstacles and the reference.
        vehicle: the model, with its nominal mass.
        mass_scale: true mass over nominal mass.
        wind: constant force on the vehicle [N].
        gust: standard deviation of each component of the changing force [N].
        motor_lag: time constant of the rotors [s].
        terminate_on_collision: whether the first contact ends the episode.
        constraints: the declared ones.
    """

    scene: Scene
    vehicle: Vehicle
    mass_scale: float
    wind: tuple[float, float, float]
    gust: float
    motor_lag: float
    terminate_on_collision: bool
    constraints: tuple[ConstraintSpec, ...]

    @property
    def reference(self) -> FigureEight:
        """The trajectory to follow."""
        return self.scene.reference

    @cached_property
    def true_vehicle(self) -> Vehicle:
        """The model that flies, with its true mass."""
        return replace(self.vehicle, mass=self.mass_scale * self.vehicle.mass)

    @cached_property
    def radii(self) -> np.ndarray:
        """How far the vehicle's center has to stay from each sphere's, (obstacles,), read-only."""
        radii = self.scene.radii + self.vehicle.radius
        radii.setflags(write=False)
        return radii

    @cached_property
    def blows(self) -> bool:
        """Whether there is any wind."""
        return self.gust > 0.0 or any(self.wind)

    @cached_property
    def gust_filter(self) -> tuple[float, float]:
        """(a, b) of g' = a g + b n with n ~ N(0, 1), whose stationary deviation is `gust`."""
        kept = math.exp(-CONTROL_DT / GUST_TIME)
        return kept, self.gust * math.sqrt(1.0 - kept * kept)

    @cached_property
    def motor_share(self) -> float:
        """The fraction of the way to their commands that the rotors move in one step."""
        return 1.0 if self.motor_lag == 0.0 else 1.0 - math.exp(-CONTROL_DT / self.motor_lag)

    @cached_property
    def turn(self) -> tuple[float, float]:
        """Cosine and sine of the angle that the reference advances in one step."""
        return self.reference.phase(CONTROL_DT)

    @cached_property
    def cost_high(self) -> np.ndarray:
        """The largest cost of one step, (m,)."""
        return np.full(len(self.constraints), self.scene.num_obstacles / len(self.constraints))

    def spaces(self) -> tuple[gym.spaces.Box, gym.spaces.Box]:
        """Return the observation and the action space."""
        size = 13 + 6 + 4 * self.scene.num_obstacles + 3 * len(self.scene.moving)
        observation = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        return observation, gym.spaces.Box(-1.0, 1.0, (4,), np.float32)


def flight_task(
    scene: SceneName,
    vehicle: VehicleName | Vehicle,
    wind: Iterable[float],
    gust: float,
    mass_scale: float,
    motor_lag: float,
    terminate_on_collision: bool,
    cost_limits: CostLimits,
    per_constraint: bool,
    obstacles: Any = None,
    reference: FigureEight | None = None,
) -> FlightTask:
    """Return the task that the arguments of both forms describe.

    Raises:
        ValueError: if an argument is unknown or out of its range.
    """
    model, usual = _flown(vehicle)
    followed = _checked_reference(reference, usual)
    check_choice("scene", scene, SCENES)
    force = checked_array("wind", wind, (3,), "a force in newtons").tolist()
    check_not_negative(gust=gust, motor_lag=motor_lag)
    check_positive(mass_scale=mass_scale)
    if obstacles is None:
        obstructed = stacked_scene(SCENES[scene], followed)
    else:
        obstructed = own_scene(groups_of(obstacles), followed)
    names = ["collision"]
    if per_constraint:
        names = [f"obstacle_{i}" for i in range(obstructed.num_obstacles)]
    if not names:
        raise ValueError(
            "per_constraint=True declares one constraint per sphere, but there are none; pass "
            "obstacles, or per_constraint=False"
        )
    constraints = declare_constraints(dict.fromkeys(names, COST_LIMIT), 1.0, cost_limits)
    return FlightTask(
        scene=obstructed,
        vehicle=model,
        mass_scale=float(mass_scale),
        wind=(force[0], force[1], force[2]),
        gust=float(gust),
        motor_lag=float(motor_lag),
        terminate_on_collision=terminate_on_collision,
        constraints=constraints,
    )


def _flown(vehicle: VehicleName | Vehicle) -> tuple[Vehicle, FigureEight]:
    """Return the model, able to hover, and the figure eight that it follows by default."""
    if isinstance(vehicle, Vehicle):
        vehicle.check_hovers()
        named = (name for name, model in VEHICLES.items() if model == vehicle)
        return vehicle, FIGURE_EIGHTS[next(named, "crazyflie")]
    if not isinstance(vehicle, str) or vehicle not in VEHICLES:
        hint = closest_hint(vehicle, VEHICLES)
        raise ValueError(
            f"vehicle is {vehicle!r}; {hint}pass one of {', '.join(map(repr, VEHICLES))}, or a "
            "Vehicle of safe_envs.quadrotor.vehicle"
        )
    return VEHICLES[vehicle], FIGURE_EIGHTS[vehicle]


def _checked_reference(reference: FigureEight | None, usual: FigureEight) -> FigureEight:
    if reference is None:
        return usual
    if not isinstance(reference, FigureEight):
        raise ValueError(
            f"reference is {reference!r}; pass a FigureEight of safe_envs.quadrotor.reference, or "
            "None for the vehicle's"
        )
    return reference


def stage_cost(
    state: Iterable[Number],
    target: tuple[Number, Number, Number, Number, float],
    u: Iterable[Number],
    hover: Iterable[float],
) -> tuple[Number, Number, Number]:
    """Return the cost l, the squared distance from the reference [m^2], and the body's uprightness.

        l = 10 |e_p|^2 + |e_v|^2 + 2 |q_v|^2 + 0.02 |w|^2 + 2 |u - u_h|^2

    Uprightness is the vertical part of the body's z axis, 1 - 2 (q1^2 + q2^2).

    Args:
        state: 13 floats, or 13 rows (N,).
        target: the reference's x, y, their velocities, and its height.
        u: the commanded thrusts, 4 floats or 4 rows.
        hover: u_h, 4 floats.
    """
    x, y, z, vx, vy, vz, _, q1, q2, q3, w1, w2, w3 = state
    u1, u2, u3, u4 = u
    x, y, z = x - target[0], y - target[1], z - target[4]
    vx, vy = vx - target[2], vy - target[3]
    hover_1, hover_2, hover_3, hover_4 = hover
    u1, u2, u3, u4 = u1 - hover_1, u2 - hover_2, u3 - hover_3, u4 - hover_4
    distance = x * x + y * y + z * z
    level = q1 * q1 + q2 * q2
    cost = POSITION_WEIGHT * distance + (vx * vx + vy * vy + vz * vz) + 2.0 * (level + q3 * q3)
    cost = cost + RATE_WEIGHT * (w1 * w1 + w2 * w2 + w3 * w3)
    cost = cost + EFFORT_WEIGHT * (u1 * u1 + u2 * u2 + u3 * u3 + u4 * u4)
    return cost, distance, 1.0 - 2.0 * level
