"""The environment a controller is made for, with checks of its spaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

import safe_envs  # noqa: F401  registers the environments
from safe_envs.control.double_integrator import DoubleIntegratorEnv, DoubleIntegratorVectorEnv
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv

Env = gym.Env | VectorEnv | str

DOUBLE_INTEGRATORS = (DoubleIntegratorEnv, DoubleIntegratorVectorEnv)
QUADROTORS = (QuadrotorEnv, QuadrotorVectorEnv)
IDS: Mapping[tuple[type, ...], tuple[str, ...]] = {
    DOUBLE_INTEGRATORS: ("Safe/DoubleIntegrator-v0",),
    QUADROTORS: ("Safe/Quadrotor-v0", "Safe/QuadrotorColumn-v0", "Safe/QuadrotorZCBF-v0"),
}


def controlled_env(controller: str, env: Env, *families: tuple[type, ...]) -> Any:
    """Return the innermost environment, of one of the families.

    Args:
        controller: its name, for error messages.
        env: an environment or a native vector environment, wrapped or not, or an id.
        families: keys of `IDS` that the controller is for.

    Raises:
        TypeError: if `env` is not an environment.
        ValueError: if it is of another family, or a wrapper has changed its observations or
            actions.
    """
    known = ", ".join(env_id for family in families for env_id in IDS[family])
    if isinstance(env, str):
        env = gym.make(env)
    if not isinstance(env, gym.Env | VectorEnv):
        raise TypeError(
            f"{controller} was given {env!r}, which is not a Gymnasium environment; pass {known}, "
            "as an id or made with gym.make or gym.make_vec"
        )
    inner = env.unwrapped
    if not any(isinstance(inner, family) for family in families):
        raise ValueError(
            f"{controller} does not know {type(inner).__name__}; pass one of {known}, made with "
            "gym.make or gym.make_vec"
        )
    for given, own in (
        (env.observation_space, inner.observation_space),
        (env.action_space, inner.action_space),
    ):
        if given != own:
            raise ValueError(
                f"a wrapper in {env} changes the space {own} to {given}; {controller} needs the "
                "environment's own observations and actions, so leave that wrapper out"
            )
    return inner
