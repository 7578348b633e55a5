"""Whether robots are in their healthy ranges, from their states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from safe_envs.velocity.robots import Robot


class HealthCheck:
    """The healthy ranges of a robot that has some.

    Args:
        robot: the robot; `healthy_z_range` must not be None.
    """

    def __init__(self, robot: Robot) -> None:
        assert robot.healthy_z_range is not None
        self._robot, self._heights = robot, robot.healthy_z_range
        self._within = _state_check(robot)

    def __call__(self, states: np.ndarray) -> Any:
        """Return whether states (qpos, qvel), (..., nq + nv), are healthy, (...) bool."""
        robot, columns = self._robot, states.T
        height = columns[robot.height_joint]
        low, high = self._heights
        if robot.closed_z_range:
            holds = (low <= height) & (height <= high)
        else:
            holds = (low < height) & (height < high)
        if robot.healthy_angle_range is not None:
            angle = columns[2]
            low, high = robot.healthy_angle_range
            holds = holds & (low < angle) & (angle < high)
        if self._within is not None:
            holds = holds & self._within(states)
        return holds


def _state_check(robot: Robot) -> Callable[[np.ndarray], Any] | None:
    """Return the check of (qpos, qvel), (..., nq + nv) to (...) bool; None for any state."""
    if robot.healthy_if_finite:
        return lambda states: np.maximum.reduce(np.abs(states), axis=-1) < np.inf
    if robot.healthy_state_range is None:
        return None
    low, high = robot.healthy_state_range
    if low == -high:  # saves a comparison
        return lambda states: np.maximum.reduce(np.abs(states[..., 2:]), axis=-1) < high
    return lambda states: ((low < states[..., 2:]) & (states[..., 2:] < high)).all(axis=-1)
