"""The environments inside of an environment in any form, as far as they are in this process."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.training_env import AnyEnv


def innermost_envs(env: AnyEnv) -> list[Any]:
    """Return the innermost environments; a native vector form is one of them."""
    return [one.unwrapped for one in wrapped_envs(env)]


def wrapped_envs(env: AnyEnv) -> list[Any]:
    """Return the single environments with their wrappers; a native vector form is one of them."""
    if isinstance(env, str):
        return []
    inner: Any = env.unwrapped
    if isinstance(inner, GymnasiumVecEnv):
        return wrapped_envs(inner.venv)
    if isinstance(inner, DummyVecEnv | gym.vector.SyncVectorEnv):
        return list(inner.envs)
    return [env]
