"""Converts ids, environments and vector environments to the VecEnv that agents train on."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

import safe_envs  # noqa: F401  registers the ids
from agents.gymnasium_vec_env import GymnasiumVecEnv
from safe_envs.contract.argument_checks import check_count
from safe_envs.contract.constrained_wrapper import ConstrainedWrapper
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostLimits,
    CostSignalError,
    checked_limits,
    with_limits,
)

VECTOR_ARGUMENTS = ("num_envs", "vectorization_mode", "autoreset_mode", "max_episode_steps")
USUAL_DISCOUNT = 0.99
MONITOR = "stable_baselines3.common.monitor:Monitor"
AnyEnv = str | gym.Env | gym.vector.VectorEnv | VecEnv


class Contract(NamedTuple):
    """The constraints and the discount that an agent trains with."""

    constraints: tuple[ConstraintSpec, ...]
    reward_discount: float


def make_vec_env(env_id: str, n_envs: int = 1, **kwargs: Any) -> VecEnv:
    """Return n copies of an environment as a VecEnv; the native vector form if there is one.

    Args:
        env_id: Gymnasium id.
        n_envs: number of copies; 1 makes the single form, which is faster for one environment.
        **kwargs: arguments of the environment.

    Raises:
        ValueError: if n_envs < 1.
        gymnasium.error.Error: if Gymnasium cannot make it.
    """
    check_count(n_envs=n_envs)
    if n_envs > 1 and _has_native_form(env_id):
        venv = gym.make_vec(
            env_id, num_envs=n_envs, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs
        )
        return GymnasiumVecEnv(venv)
    return DummyVecEnv([lambda: Monitor(gym.make(env_id, **kwargs)) for _ in range(n_envs)])


def environment_spec(venv: VecEnv) -> EnvSpec | None:
    """Return the specification of one environment of a VecEnv; None if it was not made from an id.

    The vector form of an environment keeps its own arguments in its specification; they are left
    out, so that Gymnasium can make single and vector forms from it. So is Stable-Baselines3's
    Monitor, which changes nothing and which Gymnasium cannot create.
    """
    spec = venv.get_attr("spec")[0] if venv.has_attr("spec") else None
    if spec is None:
        return None
    own = copy.deepcopy(spec)
    for name in VECTOR_ARGUMENTS:
        own.kwargs.pop(name, None)
    kept = (one for one in own.additional_wrappers if one.entry_point != MONITOR)
    own.additional_wrappers = tuple(kept)
    return own


def _has_native_form(env_id: str) -> bool:
    """Return whether there is a vector form that can reset in the same step."""
    entry_point = gym.spec(env_id).vector_entry_point
    if entry_point is None:
        return False
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return "autoreset_mode" in inspect.signature(creator).parameters


def as_vec_env(
    env: AnyEnv, n_envs: int, undeclared: tuple[ConstraintSpec, ...]
) -> VecEnv | gym.Env:
    """Return an environment that Stable-Baselines3 accepts.

    A single environment that declares no constraints gets those in `undeclared`, read from
    `info["cost"]` or from the third of six values of `step`.
    """
    if isinstance(env, str):
        return make_vec_env(env, n_envs)
    if isinstance(env, gym.vector.VectorEnv):
        return GymnasiumVecEnv(env)
    if isinstance(env, VecEnv):
        if env.num_envs < 1:
            raise ValueError("the VecEnv has no environments; pass one with at least one")
        return env
    if undeclared and not env.has_wrapper_attr("constraints"):
        return ConstrainedWrapper(env, undeclared)
    return env


def undeclared_constraints(cost_limit: CostLimits) -> tuple[ConstraintSpec, ...]:
    """Return numbered constraints for environments that declare none."""
    if cost_limit is None:
        return ()
    limits = checked_limits(cost_limit, "cost_limit").tolist()
    if np.ndim(cost_limit) == 0:
        return (ConstraintSpec("cost", limits[0]),)
    return tuple(ConstraintSpec(f"cost_{i}", limit) for i, limit in enumerate(limits))


def contract_of(venv: VecEnv, cost_limit: CostLimits, required: bool) -> Contract:
    """Return the constraints and the discount of the return for an agent on these environments.

    Args:
        venv: the environments.
        cost_limit: replaces the declared limits; None keeps them.
        required: whether it is an error to have no constraints.

    Raises:
        CostSignalError: if none are declared, no limit is given, and some are required.
        ValueError: if there is not one limit per declared constraint.
    """
    discount = venv.get_attr("reward_discount")[0] if venv.has_attr("reward_discount") else 1.0
    if venv.has_attr("constraints"):
        declared = venv.get_attr("constraints")[0]
        return Contract(with_limits(declared, cost_limit, "cost_limit"), discount)
    constraints = undeclared_constraints(cost_limit)
    if required and not constraints:
        raise CostSignalError(
            "the environment declares no constraints; pass cost_limit, which then bounds the sum "
            'of info["cost"] over an episode, or wrap it with safe_envs.ConstrainedWrapper'
        )
    return Contract(constraints, discount)


def declared_constraints_of(venv: VecEnv | None) -> tuple[ConstraintSpec, ...] | None:
    """Return the constraints that environments declare; None if they declare none."""
    if venv is None or not venv.has_attr("constraints"):
        return None
    declared: tuple[ConstraintSpec, ...] = venv.get_attr("constraints")[0]
    return declared


def declared_limits_of(venv: VecEnv | None) -> list[float] | None:
    """Return the limits that environments declare; None if they declare no constraints."""
    declared = declared_constraints_of(venv)
    return None if declared is None else [one.limit for one in declared]


def lowest_discount(constraints: Sequence[ConstraintSpec]) -> float:
    """Return the lowest declared discount of the costs, 1 if there are none."""
    return min((one.discount for one in constraints), default=1.0)


def advantage_discount(given: float | None, declared: float) -> float:
    """Return the discount of advantages: the given one, else the declared one if it is below 1."""
    if given is not None:
        return given
    return declared if declared < 1.0 else USUAL_DISCOUNT
