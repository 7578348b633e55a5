"""Checks of the arguments of Gymnasium's robot classes, which change a robot's task."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from safe_envs.contract.argument_checks import check_whole, is_number
from safe_envs.contract.argument_names import unexpected_argument
from safe_envs.velocity.robots import Robot, robot_named


def robot_with(name: str, **arguments: Any) -> Robot:
    """Return a robot's numbers with the given arguments in place of the default ones.

    Args:
        name: name of the robot.
        **arguments: those of `CHECKS`; None leaves the robot's own value.

    Raises:
        TypeError: if Gymnasium's class of the robot has no such argument.
        ValueError: if a value is out of its range.
    """
    robot = robot_named(name)
    known = [each for each in CHECKS if vars(robot)[each] is not None]
    checked = {}
    for argument, value in arguments.items():
        if value is None:
            continue
        if argument not in known:
            raise TypeError(unexpected_argument(f"the {name} task", argument, known))
        checked[argument] = CHECKS[argument](argument, value)
    return replace(robot, **checked)


def check_flag(name: str, value: Any) -> bool:
    """Return a bool.

    Raises:
        ValueError: if it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}; pass True or False")
    return bool(value)


def _number(low: float = -math.inf, unit: str = "") -> Callable[[str, Any], float]:
    wanted = f"a finite number{unit}" if low == -math.inf else f"a finite number >= {low:g}{unit}"

    def checked(name: str, value: Any) -> float:
        if not (is_number(value) and math.isfinite(value) and value >= low):
            raise ValueError(f"{name} is {value!r}; pass {wanted}")
        return float(value)

    return checked


def _range(unit: str) -> Callable[[str, Any], tuple[float, float]]:
    def checked(name: str, value: Any) -> tuple[float, float]:
        message = f"{name} is {value!r}; pass the lowest and the highest value{unit}, low < high"
        try:
            low, high = value
        except (TypeError, ValueError):
            raise ValueError(message) from None
        if not (is_number(low) and is_number(high) and low < high):
            raise ValueError(message)
        return float(low), float(high)

    return checked


def _count(name: str, value: Any) -> int:
    check_whole(name, value, low=1)
    return int(value)


def _path(name: str, value: Any) -> str:
    try:
        return os.fsdecode(os.fspath(value))
    except TypeError:
        raise ValueError(f"{name} is {value!r}; pass the path of a MuJoCo model") from None


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "velocity_threshold": _number(0.0, " [m/s]"),
    "forward_reward_weight": _number(),
    "ctrl_cost_weight": _number(),
    "healthy_reward": _number(),
    "terminate_when_unhealthy": check_flag,
    "healthy_z_range": _range(" [m]"),
    "healthy_angle_range": _range(" [rad]"),
    "healthy_state_range": _range(""),
    "reset_noise_scale": _number(0.0),
    "exclude_current_positions_from_observation": check_flag,
    "use_contact_forces": check_flag,
    "contact_cost_weight": _number(),
    "contact_force_range": _range(" [N, N m]"),
    "frame_skip": _count,
    "xml_file": _path,
}
