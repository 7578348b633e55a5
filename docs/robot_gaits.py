"""Gaits of the velocity tasks' robots, made by random search for the pictures.

A gait is a sine per joint, all of one frequency, plus feedback of the first observations for the
robots that fall without it. robot_gaits.json holds the numbers. They are no trained agents.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LARGEST_OBSERVATION = 5.0  # that is fed back


class Gait(NamedTuple):
    """Torques are shares of the largest ones."""

    frequency: float  # [1/s]
    amplitude: np.ndarray  # (joints,)
    phase: np.ndarray  # (joints,) [rad]
    offset: np.ndarray  # (joints,)
    feedback: np.ndarray  # (joints, observations), of the first observations; may be (joints, 0)


def torques(gait: Gait, env: Any, observation: np.ndarray, step: int) -> np.ndarray:
    """Return the action of a gait in a step of an episode."""
    turns = 2.0 * np.pi * gait.frequency * env.unwrapped.dt * step
    seen = observation[: gait.feedback.shape[1]]
    seen = np.clip(seen, -LARGEST_OBSERVATION, LARGEST_OBSERVATION)
    share = gait.offset + gait.amplitude * np.sin(turns + gait.phase) + gait.feedback @ seen
    return (np.clip(share, -1.0, 1.0) * env.action_space.high).astype(np.float32)


def _gaits() -> dict[str, Gait]:
    """Return the gaits by the name of the robot."""
    file = Path(__file__).with_suffix(".json")
    found = {}
    for robot, numbers in json.loads(file.read_text()).items():
        joints = len(numbers["amplitude"])
        arrays = (np.array(numbers[name]) for name in ("amplitude", "phase", "offset"))
        feedback = np.array(numbers["feedback"], dtype=np.float64).reshape(joints, -1)
        found[robot] = Gait(numbers["frequency"], *arrays, feedback)
    return found


GAITS = _gaits()
