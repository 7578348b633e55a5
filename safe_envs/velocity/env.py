"""Six walking, swimming and running robots with a speed limit.

Source: the velocity tasks, version 1, of Safety-Gymnasium 1.0.0, on Gymnasium's MuJoCo
environments, version 4. The numbers are in `safe_envs.velocity.robots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from safe_envs.contract.argument_checks import check_count, checked_array
from safe_envs.contract.argument_names import known_arguments
from safe_envs.contract.cost_signal import CostLimits
from safe_envs.contract.single_env import SingleEnv
from safe_envs.contract.vector_env import NativeVectorEnv
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.arguments import check_flag, robot_with
from safe_envs.velocity.batch import VelocityBatch, checked_thread_count
from safe_envs.velocity.camera import MAX_GEOMS, SIZE, FrameView, MujocoRenderer
from safe_envs.velocity.physics import physics_of
from safe_envs.velocity.robots import Range
from safe_envs.velocity.scalar import ScalarVelocity


class SafetyVelocityEnv(SingleEnv):
    """A robot from Gymnasium's MuJoCo environments that should run, but not too fast.

    ## Description
    The robot is rewarded for moving along x. Every step on which it exceeds its threshold costs 1.
    Observations, rewards and terminations are those of Gymnasium's version 4 of the robot. Costs
    are those of version 1 of Safety-Gymnasium's velocity task.

    | robot | threshold [m/s] | limited velocity | step [s] | qpos, qvel |
    |---|---|---|---|---|
    | Ant | 2.6222 | torso, norm of x and y | 0.05 | 15, 14 |
    | HalfCheetah | 3.2096 | along x | 0.05 | 9, 9 |
    | Hopper | 0.7402 | along x | 0.008 | 6, 6 |
    | Humanoid | 1.4149 | mass center, norm of x and y | 0.015 | 24, 23 |
    | Swimmer | 0.2282 | along x | 0.04 | 5, 5 |
    | Walker2d | 2.3415 | along x | 0.008 | 9, 9 |

    ## Action Space
    `Box(float32)`: the motors' controls, all in [-1, 1] (Humanoid: [-0.4, 0.4]); values outside are
    clipped. Ant 8, HalfCheetah 6, Hopper 3, Humanoid 17, Swimmer 2, Walker2d 6 entries.

    ## Observation Space
    `Box(-inf, inf, float64)`: joint positions without those along the ground, joint velocities
    (Hopper, Walker2d: clipped to [-10, 10]); Humanoid: also inertias and velocities of its bodies,
    actuator forces and contact forces. Ant 27, HalfCheetah 17, Hopper 11, Humanoid 376, Swimmer 8,
    Walker2d 17 entries.

    ## Rewards
    x velocity (Humanoid: times 1.25), minus the weighted sum of squared actions (weight Ant 0.5,
    HalfCheetah and Humanoid 0.1, Hopper and Walker2d 0.001, Swimmer 0.0001), plus the healthy
    reward (1; Humanoid 5; HalfCheetah and Swimmer 0) on every step, including the terminal one. The
    parts are in the info, with Gymnasium's names.

    ## Costs
    1 on a step whose velocity is greater than the threshold (the table's, or the argument
    `velocity_threshold`), else 0; the limit on the episode's sum is 25. A limited velocity along x
    is signed: moving backward costs nothing.
    `info["constraint_values"]` holds velocity - threshold [m/s].

    ## Starting State
    The standing pose with noise, as in Gymnasium's version 4; the root's quaternion is normalized.
    `reset(options={"state": x})` starts in x, which is qpos and qvel concatenated, as in
    `env.unwrapped.state`.

    ## Episode End
    Terminates when the robot falls (HalfCheetah and Swimmer: never); truncates after 1000 steps.

    ## Reference Optimum
    Unknown. A robot that stays just below its threshold for 1000 steps gets about 1000 times the
    threshold, plus the healthy reward: about 1,740 for Hopper.

    ## Arguments
    - `robot` ("HalfCheetah"): set by the id.
    - `cost_limits` (None): as above.
    - `per_constraint` (False): changes nothing, because `velocity` is the only constraint.
    - `velocity_threshold` (None): largest velocity that costs nothing [m/s], >= 0; as above.
    - `num_threads` (None), native vector form only: threads that simulate; by default one per
      processor. The results do not depend on it.
    - `render_mode` (None): "rgb_array" or "human"; the native vector form has only the first.

    The others have the names and meanings of Gymnasium's. None means the robot's own value; an
    argument that Gymnasium's class of the robot does not have is an error.

    - `forward_reward_weight`: weight of the x velocity; not for Ant.
    - `ctrl_cost_weight`: weight of the sum of squared actions.
    - `healthy_reward`: reward of a step on which the robot is healthy, and of a terminal step; like
      the next two, not for HalfCheetah and Swimmer.
    - `terminate_when_unhealthy`: whether the episode ends when the robot is not healthy.
    - `healthy_z_range`: lowest and highest healthy height [m] (Ant 0.2 to 1, Hopper from 0.7,
      Humanoid 1 to 2, Walker2d 0.8 to 2).
    - `healthy_angle_range`: lowest and highest healthy angle of the torso [rad]; Hopper (-0.2 to
      0.2) and Walker2d (-1 to 1).
    - `healthy_state_range`: lowest and highest healthy entry of qpos, from the third on, and qvel;
      Hopper (-100 to 100).
    - `use_contact_forces` (False), `contact_cost_weight` (0.0005), `contact_force_range` (-1 to 1):
      Ant only. If True, contact forces, clipped to this range, are observed, and their squares are
      penalized. `info["reward_ctrl"]` is then their cost, as in Gymnasium.
    - `reset_noise_scale`: half width of the noise on qpos at reset (Ant, HalfCheetah, Swimmer 0.1;
      Humanoid 0.01; Hopper, Walker2d 0.005).
    - `exclude_current_positions_from_observation` (True): whether the position along the ground is
      left out of the observation: x, and for Ant, Humanoid and Swimmer y.
    - `frame_skip`: simulation steps per environment step (Hopper, Swimmer, Walker2d 4, others 5).
    - `xml_file`: your own model, a path that begins with ".", "/" or "~"; any other name is one of
      Gymnasium's models. The spaces adapt to it. Its qpos must begin like the robot's.
    - `width`, `height` (480): of a frame [px].
    - `camera_name`, `camera_id` (None): one of the model's cameras, -1 for the free camera; by
      default "track", which moves with the robot.
    - `default_camera_config` (None): fields of MuJoCo's MjvCamera for the free camera, which is
      then the default. With `trackbodyid` it follows that body.
    - `max_geom` (1000), `visual_options` (None): most geoms in a frame; MuJoCo's visibility flags,
      by number.

    The single form also has the attributes of Gymnasium's MuJoCo environments: `model`, `data`,
    `dt`, `frame_skip`, `init_qpos`, `init_qvel`, `set_state`, `state_vector`, `do_simulation`,
    `get_body_com`, `is_healthy`, `healthy_reward` and `mujoco_renderer`.

    ## Version History
    - v1: first version here; numbered like the Safety-Gymnasium task that it equals.
    """

    dynamics: VelocityBatch

    @known_arguments()
    def __init__(
        self,
        robot: str = "HalfCheetah",
        cost_limits: CostLimits = None,
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
        physics = physics_of(numbers)
        self._robot = ScalarVelocity(physics, view)
        batch = VelocityBatch(physics, view, cost_limits)
        super().__init__(batch, render_mode, self._robot)
        self._mujoco_renderer = MujocoRenderer(self._robot.camera, self._row, batch.render_fps)

    @property
    def state(self) -> np.ndarray:
        """A copy of the state, qpos and qvel concatenated."""
        row = self._robot.row(self.current_state("reading the state"))
        return self._robot.physics.start_of(row)

    # What follows has the names and meanings of Gymnasium's MuJoCo environments.

    @property
    def model(self) -> Any:
        """MuJoCo's model of this environment alone; changes take effect with the next step."""
        self._open()
        return self._robot.physics.model

    @property
    def data(self) -> Any:
        """MuJoCo's data, which may be written to; the next step starts from this state."""
        return self._open()

    @property
    def frame_skip(self) -> int:
        """Simulation steps per environment step; set by the argument of the same name."""
        return self._robot.physics.robot.frame_skip

    @property
    def dt(self) -> float:
        """Duration of an environment step [s]."""
        return self._robot.physics.model.opt.timestep * self.frame_skip

    @property
    def init_qpos(self) -> np.ndarray:
        """The qpos (nq,) around which episodes start; may be written to."""
        return self._robot.around[: self._robot.physics.positions]

    @init_qpos.setter
    def init_qpos(self, given: Any) -> None:
        self.init_qpos[:] = checked_array("init_qpos", given, self.init_qpos.shape)

    @property
    def init_qvel(self) -> np.ndarray:
        """The qvel (nv,) around which episodes start; may be written to."""
        return self._robot.around[self._robot.physics.positions :]

    @init_qvel.setter
    def init_qvel(self, given: Any) -> None:
        self.init_qvel[:] = checked_array("init_qvel", given, self.init_qvel.shape)

    @property
    def mujoco_renderer(self) -> MujocoRenderer:
        """The frames of this environment, whose camera may be changed."""
        return self._mujoco_renderer

    @property
    def is_healthy(self) -> bool:
        """Whether the robot is in its healthy ranges; a robot without any always is."""
        return bool(self._robot.physics.is_healthy(self._row()))

    @property
    def healthy_reward(self) -> float:
        """The healthy reward of the current state."""
        robot = self._robot.physics.robot
        paid = robot.terminate_when_unhealthy is not False or self.is_healthy
        return (robot.healthy_reward or 0.0) * paid

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Go on from qpos (nq,) and qvel (nv,); everything else in the data stays.

        Raises:
            ValueError: if they are not finite or not of these shapes.
        """
        data = self._open()
        checked = checked_array("qpos", qpos, data.qpos.shape)
        data.qvel[:] = checked_array("qvel", qvel, data.qvel.shape)
        data.qpos[:] = checked
        load_mujoco().mj_forward(self._robot.physics.model, data)

    def state_vector(self) -> np.ndarray:
        """Return qpos and qvel concatenated, (nq + nv,)."""
        if self._state is not None:
            return self.state
        data = self._open()
        return np.concatenate((data.qpos, data.qvel))

    def do_simulation(self, ctrl: np.ndarray, n_frames: int) -> None:
        """Simulate steps of the model with the controls (nu,), which are not clipped."""
        check_count(n_frames=n_frames)
        shape = (self._robot.physics.model.nu,)
        self._robot.physics.simulate(self._open(), checked_array("ctrl", ctrl, shape), n_frames)

    def get_body_com(self, body_name: str) -> np.ndarray:
        """Return the position (3,) of a body's frame [m]."""
        return self._open().body(body_name).xpos

    def close(self) -> None:
        """Close the windows and free the cameras, if there are any."""
        super().close()
        self._mujoco_renderer.close()

    def _get_obs(self) -> np.ndarray:
        """Return the observation of the current state."""
        return self._robot.physics.observe(self._row())

    def _open(self) -> Any:
        return self._robot.open(self._state)

    def _row(self) -> np.ndarray:
        return self._robot.row(self.current_state("reading the state"))


class SafetyVelocityVectorEnv(NativeVectorEnv, VectorEnv):
    """`SafetyVelocityEnv` as a native vector environment, with the same arguments.

    Its infos have the same entries, as arrays. All rows share one model, which cannot be changed
    once it is made: pass `xml_file` for another one, or use `gymnasium.vector.SyncVectorEnv` for
    environments whose models differ.

    Args:
        num_envs: number of robots N.
        max_episode_steps: steps after which an episode is truncated; None for no limit.
        autoreset_mode: an `AutoresetMode` or its value: "NextStep", "SameStep" or "Disabled".
        num_threads: threads that simulate; None for one per processor. Never more than N.
        render_mode: None or "rgb_array".
        **arguments: those of `SafetyVelocityEnv`.

    Raises:
        TypeError: if Gymnasium's class of the robot has no such argument.
        ValueError: if an argument is out of its range.
    """

    @known_arguments(SafetyVelocityEnv)
    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = 1000,
        autoreset_mode: Any = "NextStep",
        num_threads: int | None = None,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        single = SafetyVelocityEnv(**arguments).dynamics
        self._physics = single.physics
        dynamics = single.with_threads(checked_thread_count(num_threads, num_envs))
        super().__init__(dynamics, num_envs, max_episode_steps, autoreset_mode, render_mode)

    @property
    def state(self) -> np.ndarray:
        """A copy of the states, qpos and qvel concatenated, (N, nq + nv)."""
        return self._physics.start_of(self.current_states("reading the state"))
