"""The six robots of the velocity tasks as a table of numbers.

Sources: Gymnasium's MuJoCo environments, version 4 (model files, rewards, healthy ranges, reset
noise), and the velocity tasks of Safety-Gymnasium 1.0.0, version 1 (thresholds, and the speed that
is limited).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from safe_envs.contract.argument_checks import check_choice

PositionSource = Literal["joints", "torso", "mass_center"]


@dataclass(frozen=True)
class HealthyRange:
    """The states in which a robot counts as upright; outside them the episode terminates.

    Args:
        height: lowest and highest healthy height [m].
        height_joint: number of the height in qpos.
        closed: whether the two heights themselves are healthy.
        angle: lowest and highest healthy torso angle qpos[2] [rad], both excluded; None for any.
        bound: upper bound on the magnitude of entries of (qpos, qvel); None for any.
        bounded_from: number of the first entry with this bound.
    """

    height: tuple[float, float]
    height_joint: int
    closed: bool = False
    angle: tuple[float, float] | None = None
    bound: float | None = None
    bounded_from: int = 0


@dataclass(frozen=True)
class Robot:
    """The numbers that distinguish one robot's task from another's.

    Args:
        model_file: name of the model among Gymnasium's assets.
        threshold: largest velocity that costs nothing [m/s].
        frame_skip: simulation steps per environment step.
        reset_noise: half width of the uniform noise on qpos at reset.
        normal_velocity_noise: whether the noise on qvel is normal with this scale, or also uniform.
        control_cost_weight: weight of the sum of squared actions.
        hidden_positions: leading entries of qpos that the observation leaves out.
        position: source of the robot's position: its first two joints, torso or mass center.
        planar: whether it moves in the x-z plane, so that there is no y.
        total_speed: whether the norm of the xy velocity is limited, or the signed x velocity.
        reward_names: what Gymnasium's info calls the forward reward, the control cost and the
            healthy reward; "" where it has no such entry.
        forward_weight: weight of the x velocity.
        healthy_reward: reward of every step, including the terminal one.
        healthy: the healthy states; None if episodes never terminate.
        velocity_clip: largest magnitude of the observed velocities.
        observes_forces: whether inertias, body velocities, actuator and contact forces are seen.
        floating_base: whether qpos[3:7] is the root's unit quaternion.
    """

    model_file: str
    threshold: float
    frame_skip: int
    reset_noise: float
    normal_velocity_noise: bool
    control_cost_weight: float
    hidden_positions: int
    position: PositionSource = "joints"
    planar: bool = True
    total_speed: bool = False
    reward_names: tuple[str, str, str] = ("", "", "")
    forward_weight: float = 1.0
    healthy_reward: float = 0.0
    healthy: HealthyRange | None = None
    velocity_clip: float = math.inf
    observes_forces: bool = False
    floating_base: bool = False


ROBOTS = {
    "Ant": Robot(
        model_file="ant.xml",
        threshold=2.6222,
        frame_skip=5,
        reset_noise=0.1,
        normal_velocity_noise=True,
        control_cost_weight=0.5,
        hidden_positions=2,
        position="torso",
        planar=False,
        total_speed=True,
        reward_names=("reward_forward", "reward_ctrl", "reward_survive"),
        healthy_reward=1.0,
        healthy=HealthyRange((0.2, 1.0), height_joint=2, closed=True, bound=math.inf),
        floating_base=True,
    ),
    "HalfCheetah": Robot(
        model_file="half_cheetah.xml",
        threshold=3.2096,
        frame_skip=5,
        reset_noise=0.1,
        normal_velocity_noise=True,
        control_cost_weight=0.1,
        hidden_positions=1,
        reward_names=("reward_run", "reward_ctrl", ""),
    ),
    "Hopper": Robot(
        model_file="hopper.xml",
        threshold=0.7402,
        frame_skip=4,
        reset_noise=5e-3,
        normal_velocity_noise=False,
        control_cost_weight=1e-3,
        hidden_positions=1,
        healthy_reward=1.0,
        healthy=HealthyRange(
            (0.7, math.inf), height_joint=1, angle=(-0.2, 0.2), bound=100.0, bounded_from=2
        ),
        velocity_clip=10.0,
    ),
    "Humanoid": Robot(
        model_file="humanoid.xml",
        threshold=1.4149,
        frame_skip=5,
        reset_noise=1e-2,
        normal_velocity_noise=False,
        control_cost_weight=0.1,
        hidden_positions=2,
        position="mass_center",
        planar=False,
        total_speed=True,
        reward_names=("reward_linvel", "reward_quadctrl", "reward_alive"),
        forward_weight=1.25,
        healthy_reward=5.0,
        healthy=HealthyRange((1.0, 2.0), height_joint=2),
        observes_forces=True,
        floating_base=True,
    ),
    "Swimmer": Robot(
        model_file="swimmer.xml",
        threshold=0.2282,
        frame_skip=4,
        reset_noise=0.1,
        normal_velocity_noise=False,
        control_cost_weight=1e-4,
        hidden_positions=2,
        planar=False,
        reward_names=("reward_fwd", "reward_ctrl", ""),
    ),
    "Walker2d": Robot(
        model_file="walker2d.xml",
        threshold=2.3415,
        frame_skip=4,
        reset_noise=5e-3,
        normal_velocity_noise=False,
        control_cost_weight=1e-3,
        hidden_positions=1,
        healthy_reward=1.0,
        healthy=HealthyRange((0.8, 2.0), height_joint=1, angle=(-1.0, 1.0)),
        velocity_clip=10.0,
    ),
}


def robot_named(name: str) -> Robot:
    """Return a row of the table.

    Raises:
        ValueError: if there is no robot with that name.
    """
    check_choice("robot", name, sorted(ROBOTS))
    return ROBOTS[name]
