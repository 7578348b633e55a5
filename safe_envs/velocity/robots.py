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
Range = tuple[float, float]


@dataclass(frozen=True)
class Robot:
    """The numbers that distinguish one task from another.

    The first group has the names of the arguments of Gymnasium's classes, version 4, which may
    change them; None means that the robot's class has no such argument.

    Args:
        xml_file: the model: a name among Gymnasium's assets, or a path.
        frame_skip: simulation steps per environment step.
        velocity_threshold: largest velocity that costs nothing [m/s].
        ctrl_cost_weight: weight of the sum of squared actions.
        reset_noise_scale: half width of the uniform noise on qpos at reset.
        exclude_current_positions_from_observation: whether the observation leaves out the first
            `ground_positions` entries of qpos.
        forward_reward_weight: weight of the x velocity.
        healthy_reward: reward of every step on which the robot is healthy.
        terminate_when_unhealthy: whether the episode ends then. If so, the terminal step, too, has
            the healthy reward.
        healthy_z_range: lowest and highest healthy height [m], both excluded.
        healthy_angle_range: lowest and highest healthy angle qpos[2] [rad], both excluded.
        healthy_state_range: lowest and highest healthy entry of (qpos, qvel) from the third on,
            both excluded.
        use_contact_forces: whether contact forces are observed and penalized.
        contact_cost_weight: weight of the sum of squared contact forces.
        contact_force_range: what contact forces are clipped to [N, N m].

        name: as in the table.
        ground_positions: leading entries of qpos that are positions along the ground.
        normal_velocity_noise: whether the noise on qvel is normal with this scale, or also uniform.
        height_joint: number of the height in qpos.
        closed_z_range: whether the two healthy heights are healthy themselves.
        healthy_if_finite: whether all of (qpos, qvel) has to be finite.
        position: source of the robot's position: its first two joints, torso or mass center.
        planar: whether it moves in the x-z plane, so that there is no y.
        total_speed: whether the norm of the xy velocity is limited, or the signed x velocity.
        reward_names: what Gymnasium's info calls the forward reward, the control cost and the
            healthy reward; "" where it has no such entry.
        velocity_clip: largest magnitude of the observed velocities.
        observes_forces: whether inertias, body velocities, actuator and contact forces are seen.
    """

    xml_file: str
    frame_skip: int
    velocity_threshold: float
    ctrl_cost_weight: float
    reset_noise_scale: float
    name: str
    ground_positions: int
    normal_velocity_noise: bool
    exclude_current_positions_from_observation: bool = True
    forward_reward_weight: float | None = None
    healthy_reward: float | None = None
    terminate_when_unhealthy: bool | None = None
    healthy_z_range: Range | None = None
    healthy_angle_range: Range | None = None
    healthy_state_range: Range | None = None
    use_contact_forces: bool | None = None
    contact_cost_weight: float | None = None
    contact_force_range: Range | None = None
    height_joint: int = 1
    closed_z_range: bool = False
    healthy_if_finite: bool = False
    position: PositionSource = "joints"
    planar: bool = True
    total_speed: bool = False
    reward_names: tuple[str, str, str] = ("", "", "")
    velocity_clip: float = math.inf
    observes_forces: bool = False


_ROBOTS = (
    Robot(
        name="Ant",
        xml_file="ant.xml",
        velocity_threshold=2.6222,
        frame_skip=5,
        reset_noise_scale=0.1,
        normal_velocity_noise=True,
        ctrl_cost_weight=0.5,
        ground_positions=2,
        position="torso",
        planar=False,
        total_speed=True,
        reward_names=("reward_forward", "reward_ctrl", "reward_survive"),
        healthy_reward=1.0,
        terminate_when_unhealthy=True,
        healthy_z_range=(0.2, 1.0),
        height_joint=2,
        closed_z_range=True,
        healthy_if_finite=True,
        use_contact_forces=False,
        contact_cost_weight=5e-4,
        contact_force_range=(-1.0, 1.0),
    ),
    Robot(
        name="HalfCheetah",
        xml_file="half_cheetah.xml",
        velocity_threshold=3.2096,
        frame_skip=5,
        reset_noise_scale=0.1,
        normal_velocity_noise=True,
        forward_reward_weight=1.0,
        ctrl_cost_weight=0.1,
        ground_positions=1,
        reward_names=("reward_run", "reward_ctrl", ""),
    ),
    Robot(
        name="Hopper",
        xml_file="hopper.xml",
        velocity_threshold=0.7402,
        frame_skip=4,
        reset_noise_scale=5e-3,
        normal_velocity_noise=False,
        forward_reward_weight=1.0,
        ctrl_cost_weight=1e-3,
        ground_positions=1,
        healthy_reward=1.0,
        terminate_when_unhealthy=True,
        healthy_z_range=(0.7, math.inf),
        healthy_angle_range=(-0.2, 0.2),
        healthy_state_range=(-100.0, 100.0),
        velocity_clip=10.0,
    ),
    Robot(
        name="Humanoid",
        xml_file="humanoid.xml",
        velocity_threshold=1.4149,
        frame_skip=5,
        reset_noise_scale=1e-2,
        normal_velocity_noise=False,
        forward_reward_weight=1.25,
        ctrl_cost_weight=0.1,
        ground_positions=2,
        position="mass_center",
        planar=False,
        total_speed=True,
        reward_names=("reward_linvel", "reward_quadctrl", "reward_alive"),
        healthy_reward=5.0,
        terminate_when_unhealthy=True,
        healthy_z_range=(1.0, 2.0),
        height_joint=2,
        observes_forces=True,
    ),
    Robot(
        name="Swimmer",
        xml_file="swimmer.xml",
        velocity_threshold=0.2282,
        frame_skip=4,
        reset_noise_scale=0.1,
        normal_velocity_noise=False,
        forward_reward_weight=1.0,
        ctrl_cost_weight=1e-4,
        ground_positions=2,
        planar=False,
        reward_names=("reward_fwd", "reward_ctrl", ""),
    ),
    Robot(
        name="Walker2d",
        xml_file="walker2d.xml",
        velocity_threshold=2.3415,
        frame_skip=4,
        reset_noise_scale=5e-3,
        normal_velocity_noise=False,
        forward_reward_weight=1.0,
        ctrl_cost_weight=1e-3,
        ground_positions=1,
        healthy_reward=1.0,
        terminate_when_unhealthy=True,
        healthy_z_range=(0.8, 2.0),
        healthy_angle_range=(-1.0, 1.0),
        velocity_clip=10.0,
    ),
)
ROBOTS = {robot.name: robot for robot in _ROBOTS}


def robot_named(name: str) -> Robot:
    """Return a row of the table.

    Raises:
        ValueError: if there is no robot with that name.
    """
    check_choice("robot", name, sorted(ROBOTS))
    return ROBOTS[name]
