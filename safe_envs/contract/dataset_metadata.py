"""What a dataset should store about the environment that its costs come from."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import os
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.cost_signal import declared_constraints

# Entries that `gymnasium.make_vec` adds to the arguments in the spec of a vector environment.
OF_MAKE_VEC = ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers", "autoreset_mode")
TIME_LIMIT = "max_episode_steps"  # of make_vec's arguments, which its spec leaves as registered


def dataset_metadata(env: gym.Env | gym.vector.VectorEnv) -> dict[str, Any]:
    """Return what a dataset of this environment should store: limits, discounts, id, arguments.

    It has only strings, numbers, None, lists and dicts, so that `json` and Minari's
    `dataset.storage.update_metadata` accept it:

    | key | value |
    |---|---|
    | `env_id` | id in Gymnasium's registry; None for an environment made without `gymnasium.make` |
    | `env_kwargs` | the arguments it was made with; None without an id |
    | `max_episode_steps` | steps after which an episode is truncated; None for no limit |
    | `constraint_names`, `cost_limits`, `cost_discounts` | one entry per constraint |
    | `reward_discount` | the discount of the return |

    Arrays become lists. Functions become their names, "module:name", and cannot be called.

    Args:
        env: single, wrapped or bridged, or a native vector environment.

    Raises:
        CostSignalError: if it declares no constraints.
        TypeError: for Gymnasium's own vector environments, which do not pass declarations on.
        ValueError: if an argument of the environment cannot be written as JSON.
    """
    if isinstance(env.unwrapped, gym.vector.SyncVectorEnv | gym.vector.AsyncVectorEnv):
        raise TypeError(
            f"{env} does not pass on what its environments declare; pass one of them, such as "
            "gymnasium.make(id)"
        )
    constraints = declared_constraints(env)
    unwrapped: Any = env.unwrapped
    spec = env.spec
    return {
        "env_id": None if spec is None else spec.id,
        "env_kwargs": None if spec is None else _written(spec.kwargs, spec.id),
        TIME_LIMIT: None if spec is None else spec.kwargs.get(TIME_LIMIT, spec.max_episode_steps),
        "constraint_names": [str(c.name) for c in constraints],
        "cost_limits": [float(c.limit) for c in constraints],
        "cost_discounts": [float(c.discount) for c in constraints],
        "reward_discount": float(unwrapped.reward_discount),
    }


def _written(arguments: dict[str, Any], env_id: str) -> dict[str, Any]:
    """Return the environment's own arguments as JSON values."""
    kept = {}
    for name, value in arguments.items():
        if name in OF_MAKE_VEC or name == TIME_LIMIT:
            continue
        try:
            kept[name] = json.loads(json.dumps(value, default=_plain))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"argument {name!r} of {env_id} is {value!r}, which JSON cannot store ({error}); "
                "pass numbers, strings, arrays, lists, dicts, dataclasses or functions"
            ) from None
    return kept


def _plain(value: Any) -> Any:
    """Return a value that JSON does not support in the closest form that it does."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if inspect.isfunction(value) or isinstance(value, type):
        return f"{value.__module__}:{value.__qualname__}"
    raise TypeError(f"{type(value).__name__} is not supported")
