"""MuJoCo models of the robots: Gymnasium's, shared by a process, and the user's own."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.robots import Robot

ASSETS = Path(gym.__file__).parent / "envs" / "mujoco" / "assets"


def model_path(xml_file: str) -> Path:
    """Return the path of a model, with the rules of Gymnasium's version 5.

    A path that begins with ".", "/" or "~" is one; any other name is one of Gymnasium's assets.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if xml_file.startswith("~"):
        path = Path(xml_file).expanduser()
    elif xml_file.startswith(".") or os.path.isabs(xml_file):
        path = Path(xml_file)
    else:
        path = ASSETS / xml_file
    if path.is_file():
        return path
    hint = f"; did you mean './{xml_file}'?" if Path(xml_file).is_file() else ""
    raise FileNotFoundError(
        f"xml_file is {xml_file!r}, but there is no file {path}{hint}; pass a path that begins "
        "with '.', '/' or '~', or the name of one of Gymnasium's models"
    )


def is_shared(robot: Robot) -> bool:
    """Return whether the robot's model is one of Gymnasium's, which is never changed."""
    return model_path(robot.xml_file).parent == ASSETS


def compiled_model(robot: Robot) -> Any:
    """Return a robot's model: Gymnasium's are compiled once per process, the user's own every time.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the user's model does not compile or lacks something that the task needs.
        RuntimeError: if MuJoCo cannot compile Gymnasium's model.
        gym.error.DependencyNotInstalled: if mujoco is missing.
    """
    load_mujoco()
    path = model_path(robot.xml_file)
    model = _shared_model(path) if is_shared(robot) else _compile_own(path)
    _check_fits(robot, model)
    return model


def torso(model: Any) -> int:
    """Return the number of the body named torso; without one, that of the first body."""
    number = int(load_mujoco().mj_name2id(model, load_mujoco().mjtObj.mjOBJ_BODY, "torso"))
    return number if number >= 0 else min(1, model.nbody - 1)


def has_floating_base(model: Any) -> bool:
    """Return whether qpos[3:7] is the root's unit quaternion."""
    return model.njnt > 0 and model.jnt_type[0] == load_mujoco().mjtJoint.mjJNT_FREE


@cache
def _shared_model(path: Path) -> Any:
    mujoco = load_mujoco()
    try:
        return _compile(mujoco, path)
    except ValueError as error:  # Swimmer's model of Gymnasium 0.29, for MuJoCo 3 and later
        reason = " ".join(str(error).split())
        raise RuntimeError(
            f"{path.name} of gymnasium {gym.__version__} does not compile with mujoco "
            f"{mujoco.__version__} ({reason}); upgrade Gymnasium: pip install -U gymnasium"
        ) from error


def _compile_own(path: Path) -> Any:
    try:
        return _compile(load_mujoco(), path)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"xml_file {path} does not compile: {reason}") from error


def _compile(mujoco: ModuleType, path: Path) -> Any:
    """Compile a model without writing warnings about old attributes to MUJOCO_LOG.TXT."""
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    finally:
        mujoco.set_mju_user_warning(handler)


def _check_fits(robot: Robot, model: Any) -> None:
    """Raise ValueError if the task of the robot cannot be computed with the model."""
    wanted = max(robot.ground_positions, 2 if robot.position == "joints" else 0)
    if robot.healthy_z_range is not None:
        wanted = max(wanted, robot.height_joint + 1)
    if robot.healthy_angle_range is not None:
        wanted = max(wanted, 3)
    given = f"xml_file {robot.xml_file!r}"
    if model.nq < wanted:
        raise ValueError(
            f"{given} has {model.nq} joint positions but the task of {robot.name} reads the first "
            f"{wanted} of them; pass a model whose qpos begins like {robot.name}'s"
        )
    mujoco = load_mujoco()
    named = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, "torso") >= 0
    if robot.position == "torso" and not named:
        raise ValueError(
            f"{given} has no body named 'torso', whose speed the task of {robot.name} limits; name "
            "one so"
        )
    unlimited = np.flatnonzero(model.actuator_ctrllimited == 0)
    if model.nu == 0 or len(unlimited):
        raise ValueError(
            f"{given} has no actuators or some without limits (numbers {unlimited.tolist()}), but "
            "actions are clipped to the actuators' control ranges; give each a ctrlrange"
        )
