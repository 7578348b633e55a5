"""Fixes of safety-gymnasium 1.0.0 after its import: one function for each broken place.

They replace names in the package's modules, in memory only. `apply_all` runs once, after the
import.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from safe_envs.safety_gymnasium_bridge.fast_paths import is_fast
from safe_envs.safety_gymnasium_bridge.import_fixes import PACKAGE
from safe_envs.safety_gymnasium_bridge.layout_sampling import sample_layout
from safe_envs.safety_gymnasium_bridge.scene_files import SceneFiles
from safe_envs.safety_gymnasium_bridge.sensing import distance_xy, lidar_readings
from safe_envs.safety_gymnasium_bridge.viewer import viewer_of_model_size

ROOT_QUATERNION = slice(3, 7)  # in qpos, after the root's position


def apply_all() -> None:
    """Apply every fix of this module."""
    _fix_joint_sensors()
    _fix_joint_angles()
    _fix_action_bounds()
    _fix_offscreen_viewer()
    _fix_scene_files()
    _fix_slow_layouts()
    _fix_slow_sensing()
    _fix_root_quaternions()
    _fix_registering()


def _fix_joint_sensors() -> None:
    """MuJoCo 3 rejects `model.jnt(array)`, which robots with joints use to find their sensors."""
    _module("bases.base_agent").BaseAgent._init_jnt_sensors = find_joint_sensors


def _fix_joint_angles() -> None:
    """NumPy 2.4 rejects `float` of an array with one entry, which is how joint angles are read."""
    _module("bases.base_agent").float = only_entry


def _fix_action_bounds() -> None:
    """Gymnasium 1.0 warns of an overflow when a float64 box gets float32 bounds."""
    _module("bases.base_agent").BaseAgent._build_action_space = action_space_of


def _fix_offscreen_viewer() -> None:
    """Gymnasium 1.0 removed the defaults of the off-screen viewer's width and height."""
    _module("bases.underlying").OffScreenViewer = viewer_of_model_size


def _fix_scene_files() -> None:
    """The wheel lacks the textures of Race, and every reset reads and decodes all other files."""
    for name in ("world", "bases.base_task"):
        module = _module(name)
        module.yaml = SceneFiles(module.yaml)


def _fix_slow_layouts() -> None:
    """Not broken, but in crowded scenes most of a reset goes to distances between points."""
    generator = _module("utils.random_generator").RandomGenerator
    generator.sample_layout = _where_fast(sample_layout, generator.sample_layout)


def _fix_slow_sensing() -> None:
    """Not broken, but lidars read the robot's pose again for every object."""
    task, agent = _module("bases.base_task").BaseTask, _module("bases.base_agent").BaseAgent
    task._obs_lidar_pseudo = _where_fast(lidar_readings, task._obs_lidar_pseudo)
    agent.dist_xy = _where_fast(distance_xy, agent.dist_xy)


def _where_fast(short: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that calls the faster function if `is_fast()`, otherwise the package's."""

    def method(self: Any, *arguments: Any) -> Any:
        return (short if is_fast() else original)(self, *arguments)

    return method


def _fix_root_quaternions() -> None:
    """MuJoCo 3 does not normalize the noisy quaternion in `qpos` after a velocity task's reset."""
    for robot in ("ant", "humanoid"):
        module = _module(f"tasks.safe_velocity.safety_{robot}_velocity_v0")
        robot_class = vars(module)[f"Safety{robot.capitalize()}VelocityEnv"]
        robot_class.reset_model = with_unit_quaternion(robot_class.reset_model)


def _fix_registering() -> None:
    """During its import the package got a `register` that only collects."""
    _module("utils.registration").gymnasium_register = gym.register
    package = import_module(PACKAGE)
    package.gymnasium_register = gym.register  # type: ignore[attr-defined]


def _module(name: str) -> Any:
    return import_module(f"{PACKAGE}.{name}")


def with_unit_quaternion(reset_model: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """Return a `reset_model` that also normalizes the quaternion of a robot with a free root."""

    def reset(env: Any) -> np.ndarray:
        reset_model(env)
        position = env.data.qpos.copy()
        position[ROOT_QUATERNION] /= np.linalg.norm(position[ROOT_QUATERNION])
        env.set_state(position, env.data.qvel.copy())
        observation: np.ndarray = env._get_obs()
        return observation

    return reset


def only_entry(value: Any) -> float:
    """Return the one entry of an array, or a number, as a float."""
    return float(np.asarray(value).item())


def action_space_of(agent: Any) -> gym.spaces.Box:
    """Return the box of a robot's motors, with bounds rounded to float32 as in the package."""
    bounds = agent.engine.model.actuator_ctrlrange.astype(np.float32).astype(np.float64)
    return gym.spaces.Box(bounds[:, 0], bounds[:, 1], dtype=np.float64)


def find_joint_sensors(agent: Any) -> None:
    """Record the sizes of a robot's sensors and the names of its joint sensors.

    Raises:
        ValueError: if the robot has a joint sensor of a kind that observations cannot include.
    """
    model, found = agent.engine.model, agent.sensor_info
    hinge, ball = int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_BALL)
    lists = {
        (hinge, int(mujoco.mjtSensor.mjSENS_JOINTPOS)): found.hinge_pos_names,
        (hinge, int(mujoco.mjtSensor.mjSENS_JOINTVEL)): found.hinge_vel_names,
        (ball, int(mujoco.mjtSensor.mjSENS_BALLQUAT)): found.ballquat_names,
        (ball, int(mujoco.mjtSensor.mjSENS_BALLANGVEL)): found.ballangvel_names,
    }
    for sensor in range(model.nsensor):
        name = model.sensor(sensor).name
        found.sensor_dim[name] = int(model.sensor_dim[sensor])
        if model.sensor_objtype[sensor] == mujoco.mjtObj.mjOBJ_JOINT:
            joint = model.sensor_objid[sensor]
            kind = (int(model.jnt_type[joint]), int(model.sensor_type[sensor]))
            if kind not in lists:
                raise ValueError(
                    f"joint sensor {name!r} has joint and sensor type {kind}; robots may have "
                    f"{sorted(lists)}"
                )
            lists[kind].append(name)
        elif name == "agent_pos":
            found.freejoint_pos_name = name
        elif name == "agent_qvel":
            found.freejoint_qvel_name = name
