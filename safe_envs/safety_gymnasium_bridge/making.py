"""Making a task of the genuine package by its id, including ids that are native here."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from safe_envs.safety_gymnasium_bridge.task_ids import find_task

ENTRY_POINT = "safe_envs.safety_gymnasium_bridge.env:SafetyGymnasiumEnv"


def make(task_id: str, **arguments: Any) -> gym.Env:
    """Return the genuine package's environment of an id, as a five-tuple environment.

    `gymnasium.make(task_id)` does the same for every id except the six of velocity, version 1,
    which are native environments.

    Args:
        task_id: an id of safety-gymnasium 1.0.0, such as "SafetyAntVelocity-v1".
        arguments: as for `gymnasium.make`.

    Raises:
        ValueError: if the package has no such task.
        DependencyNotInstalled: if the package is missing; the message says how to install it.
    """
    task = find_task(task_id)
    spec = EnvSpec(
        id=task.id,
        entry_point=ENTRY_POINT,
        max_episode_steps=task.max_episode_steps,
        kwargs={"task": task.id},
    )
    return gym.make(spec, **arguments)
