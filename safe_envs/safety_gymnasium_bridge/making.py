"""Making a task of the genuine package by its id, including ids that are native here."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import SyncVectorEnv

from safe_envs.contract.argument_checks import check_count
from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.safety_gymnasium_bridge.task_ids import GenuineTask, find_task

ENTRY_POINT = "safe_envs.safety_gymnasium_bridge.env:SafetyGymnasiumEnv"
VECTOR_ENTRY_POINT = "safe_envs.safety_gymnasium_bridge.making:make_vec"


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
    return gym.make(_spec(find_task(task_id)), **arguments)


def make_vec(task: str, num_envs: int = 1, **arguments: Any) -> SyncVectorEnv:
    """Return copies of a task in Gymnasium's SyncVectorEnv; `gymnasium.make_vec` calls this.

    Args:
        task: an id of safety-gymnasium 1.0.0.
        num_envs: number of copies.
        arguments: `autoreset_mode` ("NextStep", "SameStep", "Disabled" or a member of
            Gymnasium's AutoresetMode), and those of `gymnasium.make`.

    Raises:
        ValueError: if an argument is out of its range.
    """
    # A named argument `autoreset_mode` would tell callers that this is a native vector form.
    mode = arguments.pop("autoreset_mode", "NextStep")
    check_count(num_envs=num_envs)
    copies = [partial(gym.make, _spec(find_task(task)), **arguments)] * num_envs
    if AutoresetMode is None:
        if mode != "NextStep":
            raise ValueError(
                f"autoreset_mode is {mode!r}, but gymnasium {gym.__version__} has only its own "
                "mode; leave it out or upgrade: pip install -U gymnasium"
            )
        return SyncVectorEnv(copies)
    return SyncVectorEnv(copies, autoreset_mode=AutoresetMode(mode))


def _spec(task: GenuineTask) -> EnvSpec:
    return EnvSpec(
        id=task.id,
        entry_point=ENTRY_POINT,
        vector_entry_point=VECTOR_ENTRY_POINT,
        max_episode_steps=task.max_episode_steps,
        kwargs={"task": task.id},
    )
