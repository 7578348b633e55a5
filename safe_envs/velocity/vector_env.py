"""The velocity tasks as native vector environments."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.cost_signal import CostLimits
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.velocity.arguments import check_flag, robot_with
from safe_envs.velocity.batch import VelocityBatch, checked_thread_count
from safe_envs.velocity.camera import MAX_GEOMS, SIZE, FrameView
from safe_envs.velocity.physics import physics_of
from safe_envs.velocity.robots import Range


class SafetyVelocityVectorEnv(NativeVectorEnv, VectorEnv):
    """`SafetyVelocityEnv` as a native vector environment, with the same arguments.

    Its infos have the same entries, as arrays. All rows share one model, which cannot be changed
    once it is made: pass `xml_file` for another one, or use `gymnasium.vector.SyncVectorEnv` for
    environments whose models differ.

    Args:
        num_envs: number of robots N.
        max_episode_steps: steps after which an episode is truncated; None for no limit.
        autoreset_mode: an `AutoresetMode` or its value: "NextStep", "SameStep" or "Disabled".
        robot: set by the id.
        cost_limits: limit of the episode's cost; None for 25.
        num_threads: threads that simulate; None for one per processor. Never more than N.
        render_mode: None or "rgb_array".

    The other arguments are those of `SafetyVelocityEnv`.

    Raises:
        TypeError: if Gymnasium's class of the robot has no such argument.
        ValueError: if an argument is out of its range.
    """

    @known_arguments()
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 1000,
        autoreset_mode: Any = "NextStep",
        robot: str = "HalfCheetah",
        cost_limits: CostLimits = None,
        num_threads: int | None = None,
        render_mode: str | None = None,
        *,
        per_constraint: bool = False,
        velocity_threshold: float | None = None,
        forward_reward_weight: float | None = None,
        ctrl_cost_weight: float | None = None,
        healthy_reward: float | None = None,
        terminate_when_unhealthy: bool | None = None,
        healthy_z_range: Range | None = None,
        healthy_angle_range: Range | None = None,
        healthy_state_range: Range | None = None,
        use_contact_forces: bool | None = None,
        contact_cost_weight: float | None = None,
        contact_force_range: Range | None = None,
        reset_noise_scale: float | None = None,
        exclude_current_positions_from_observation: bool | None = None,
        frame_skip: int | None = None,
        xml_file: str | PathLike[str] | None = None,
        width: int = SIZE,
        height: int = SIZE,
        camera_name: str | None = None,
        camera_id: int | None = None,
        default_camera_config: Mapping[str, Any] | None = None,
        max_geom: int = MAX_GEOMS,
        visual_options: Mapping[int, bool] | None = None,
    ) -> None:
        check_flag("per_constraint", per_constraint)
        numbers = robot_with(
            robot,
            velocity_threshold=velocity_threshold,
            forward_reward_weight=forward_reward_weight,
            ctrl_cost_weight=ctrl_cost_weight,
            healthy_reward=healthy_reward,
            terminate_when_unhealthy=terminate_when_unhealthy,
            healthy_z_range=healthy_z_range,
            healthy_angle_range=healthy_angle_range,
            healthy_state_range=healthy_state_range,
            use_contact_forces=use_contact_forces,
            contact_cost_weight=contact_cost_weight,
            contact_force_range=contact_force_range,
            reset_noise_scale=reset_noise_scale,
            exclude_current_positions_from_observation=exclude_current_positions_from_observation,
            frame_skip=frame_skip,
            xml_file=xml_file,
        )
        view = FrameView(
            width=width,
            height=height,
            camera_name=camera_name,
            camera_id=camera_id,
            default_camera_config=default_camera_config,
            max_geom=max_geom,
            visual_options=visual_options,
        )
        self._physics = physics_of(numbers)
        threads = checked_thread_count(num_threads, num_envs)
        batch = VelocityBatch(self._physics, view, cost_limits, threads)
        super().__init__(batch, num_envs, max_episode_steps, autoreset_mode, render_mode)

    @property
    def state(self) -> np.ndarray:
        """A copy of the states, qpos and qvel concatenated, (N, nq + nv)."""
        return self._physics.start_of(self.current_states("reading the state"))
