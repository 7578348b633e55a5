"""Arguments of Stable-Baselines3's make_vec_env that have no place in ours, and what to do instead.

Ours passes all further arguments to the environment, whose own error would not say that.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

AS_FUNCTIONS = (
    "pass the agent SubprocVecEnv([make] * n) or DummyVecEnv([make] * n) itself, where make is a "
    "function that returns one environment"
)
WRAPPED = "pass a function that returns the wrapped environment as env_id"
MONITORED = "every environment has a Monitor; for its files, " + WRAPPED
ELSEWHERE = {
    "vec_env_cls": AS_FUNCTIONS,
    "vec_env_kwargs": AS_FUNCTIONS,
    "wrapper_class": WRAPPED,
    "wrapper_kwargs": WRAPPED,
    "monitor_dir": MONITORED,
    "monitor_kwargs": MONITORED,
    "env_kwargs": "pass its entries as arguments of their own",
    "seed": "pass it to the agent",
    "start_index": "pass seed to the agent",
}


def check_arguments(env_id: Any, arguments: Iterable[str]) -> None:
    """Raise TypeError for such an argument, unless the environment takes it by name.

    Args:
        env_id: id of an environment, or a function that makes one; others are not looked at.
        arguments: names of the arguments for the environment.
    """
    names = [name for name in arguments if name in ELSEWHERE]
    if not names or not (isinstance(env_id, str) or callable(env_id)):
        return
    taken: set[str] = set()
    for creator in [env_id] if callable(env_id) else _creators(env_id):
        chain = creator.__mro__ if isinstance(creator, type) else (creator,)
        for one in chain:
            found = inspect.signature(one).parameters.values()
            taken |= {parameter.name for parameter in found}
            if chain == (one,) and any(each.kind is each.VAR_KEYWORD for each in found):
                return  # a function that takes anything
    for name in names:
        if name not in taken:
            raise TypeError(
                f"{name} is an argument of Stable-Baselines3's make_vec_env; here it would be one "
                f"of the environment, which has none of that name: {ELSEWHERE[name]}"
            )


def _creators(env_id: str) -> list[Any]:
    """Return what makes the single and the vector form of an id."""
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    spec = gym.spec(name)
    points = [point for point in (spec.entry_point, spec.vector_entry_point) if point is not None]
    return [load_env_creator(point) if isinstance(point, str) else point for point in points]
