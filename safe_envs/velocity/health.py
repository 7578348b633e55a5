"""Whether robots are in their healthy ranges, from their states."""

from __future__ import annotations

from typing import Any

import numpy as np

from safe_envs.velocity.robots import Range, Robot

ANGLE_JOINT = 2  # number of the torso's angle in qpos
FIRST_IN_RANGE = 2  # first entry of (qpos, qvel) that `healthy_state_range` limits


class HealthCheck:
    """The healthy ranges of a robot that has some.

    All ranges are held as open ones, so that two comparisons check all entries of all states.

    Args:
        robot: the robot; `healthy_z_range` must not be None.
        size: entries of a state (qpos, qvel), nq + nv.
    """

    def __init__(self, robot: Robot, size: int) -> None:
        ranges = _open_ranges(robot, size)
        first, end = min(ranges), max(ranges) + 1
        assert len(ranges) == end - first, "entries with a range must be adjacent"
        self._checked = slice(first, end)
        self._ranges = [ranges[entry] for entry in range(first, end)]
        self._low, self._high = np.array(self._ranges).T.copy()

    def __call__(self, states: np.ndarray) -> Any:
        """Return whether states (qpos, qvel), (..., nq + nv), are healthy, (...) bool."""
        checked = states[..., self._checked]
        if states.ndim > 1:
            holds = (self._low < checked) & (checked < self._high)
            return np.logical_and.reduce(holds, axis=-1)
        for number, (low, high) in zip(checked.tolist(), self._ranges, strict=True):
            if not low < number < high:
                return np.False_
        return np.True_


def _open_ranges(robot: Robot, size: int) -> dict[int, Range]:
    """Return the lower and upper ends, which are not healthy, of each entry that has a range."""
    assert robot.healthy_z_range is not None
    low, high = robot.healthy_z_range
    if robot.closed_z_range:
        low, high = float(np.nextafter(low, -np.inf)), float(np.nextafter(high, np.inf))
    given = [(robot.height_joint, (low, high))]
    if robot.healthy_angle_range is not None:
        given.append((ANGLE_JOINT, robot.healthy_angle_range))
    if robot.healthy_state_range is not None:
        given += [(i, robot.healthy_state_range) for i in range(FIRST_IN_RANGE, size)]
    if robot.healthy_if_finite:
        given += [(i, (-np.inf, np.inf)) for i in range(size)]
    ranges: dict[int, Range] = {}
    for entry, (low, high) in given:
        lowest, highest = ranges.get(entry, (low, high))
        ranges[entry] = (max(lowest, low), min(highest, high))
    return ranges
