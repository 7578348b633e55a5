"""Lidars and distances of navigation tasks, as the genuine package computes them, but faster.

They take two fifths of a step of SafetyPointGoal1-v0. The same operations on the same numbers give
the same readings to the last bit; but the robot's pose is read once for all objects of a lidar, and
plain floats replace arrays where possible.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

FULL_TURN = 2.0 * math.pi


def lidar_readings(task: Any, positions: Any) -> np.ndarray:
    """Return the closeness of the nearest object in each of a lidar's bins around the robot.

    Args:
        task: genuine navigation task, with its robot and its `lidar_conf`.
        positions: of objects in the world [m], (n, 2) or (n, 3), or of one.
    """
    settings = task.lidar_conf
    bins, reach = settings.num_bins, settings.max_dist
    width = FULL_TURN / bins
    readings = [0.0] * bins
    for x, y in _seen_from(task.agent, np.array(positions, ndmin=2)):
        distance = float(np.abs(complex(x, y)))  # NumPy's, for the same last bit
        angle = float(np.arctan2(y, x)) % FULL_TURN
        ahead = int(angle / width)
        if reach is None:
            closeness = float(np.exp(-settings.exp_gain * distance))
        else:
            closeness = max(0.0, reach - distance) / reach
        readings[ahead] = max(readings[ahead], closeness)
        if settings.alias:  # neighboring bins share what is near the edge
            share = (angle - width * ahead) / width
            after, before = (ahead + 1) % bins, (ahead - 1) % bins
            readings[after] = max(readings[after], share * closeness)
            readings[before] = max(readings[before], (1 - share) * closeness)
    return np.array(readings)


def distance_xy(agent: Any, position: Any) -> float:
    """Return the horizontal distance [m] from a robot to a position, (2,) or (3,)."""
    x, y, _ = agent.pos.tolist()
    dx, dy = float(position[0]) - x, float(position[1]) - y
    return math.sqrt(dx * dx + dy * dy)


def _seen_from(agent: Any, positions: np.ndarray) -> list[list[float]]:
    """Return positions (n, 2 or 3) in the robot's frame, n pairs of numbers."""
    places = np.zeros((len(positions), 3))
    places[:, :2] = positions[:, :2]
    places -= agent.pos
    rotation = agent.mat
    return [np.matmul(place, rotation)[:2].tolist() for place in places]
