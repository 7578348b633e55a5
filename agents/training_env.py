"""Converts ids, environments and vector environments to the VecEnv that agents train on."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import safe_envs  # noqa: F401  registers the ids
from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.make_vec_env_arguments import check_arguments
from agents.sequential_vec_env import SequentialVecEnv
from agents.shared_contract import check_all_declare, shared_constraints, shared_discount
from safe_envs.contract.argument_checks import check_count
from safe_envs.contract.constrained_wrapper import ConstrainedWrapper
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostLimits,
    CostSignalError,
    NonFiniteEnvError,
    checked_limits,
    with_limits,
)
from safe_envs.contract.transition_values import kept

VECTOR_ARGUMENTS = ("num_envs", "vectorization_mode", "autoreset_mode", "max_episode_steps")
USUAL_DISCOUNT = 0.995  # of advantages, where returns are plain sums
TRANSPARENT = (
    "stable_baselines3.common.monitor:Monitor",
    "agents.training_env:OwnObservations",
)  # wrappers, as in specifications
SIX_VALUES = "too many values to unpack (expected 5"  # Python's words
AnyEnv = str | gym.Env | gym.vector.VectorEnv | VecEnv


class Contract(NamedTuple):
    """The constraints and the discount that an agent trains with."""

    constraints: tuple[ConstraintSpec, ...]
    reward_discount: float


def make_vec_env(env_id: str | Callable[..., gym.Env], n_envs: int = 1, **kwargs: Any) -> VecEnv:
    """Return n copies of an environment as a VecEnv; the native vector form if there is one.

    The VecEnv can be wrapped as in Stable-Baselines3 (VecNormalize, VecFrameStack, ...) before it
    is passed to an agent.

    Args:
        env_id: Gymnasium id; "module:id" imports the module first. Or a function that makes one
            environment, as in Stable-Baselines3; it is called for every copy.
        n_envs: number of copies; 1 makes the single form, which is faster for one environment.
        **kwargs: arguments of the environment.

    Raises:
        TypeError: if env_id is neither, the function returns no environment, or an argument is one
            of Stable-Baselines3's make_vec_env that the environment does not take.
        ValueError: if n_envs < 1.
        gymnasium.error.Error: if Gymnasium cannot make it.
    """
    check_arguments(env_id, kwargs)
    return _made(env_id, n_envs, (), kwargs)


def _made(
    env_id: str | Callable[..., gym.Env],
    n_envs: int,
    undeclared: tuple[ConstraintSpec, ...],
    kwargs: dict[str, Any],
) -> VecEnv:
    if not isinstance(env_id, str) and (isinstance(env_id, gym.Env) or not callable(env_id)):
        raise TypeError(
            f"env_id is {env_id!r}; pass a Gymnasium id or a function that makes an environment"
        )
    check_count(n_envs=n_envs)
    if isinstance(env_id, str) and n_envs > 1 and _has_native_form(env_id):
        venv = gym.make_vec(
            env_id, num_envs=n_envs, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs
        )
        return GymnasiumVecEnv(venv, undeclared)

    make = partial(gym.make, env_id) if isinstance(env_id, str) else env_id

    def one() -> gym.Env:
        env = make(**kwargs)
        if not isinstance(env, gym.Env):
            raise TypeError(
                f"{env_id} returned a {type(env).__name__}; it has to return a gymnasium.Env"
            )
        return Monitor(env)

    return SequentialVecEnv([one] * n_envs)


class OwnObservations(gym.Wrapper[Any, Any, Any, Any]):
    """Copies the observations of an environment that may write the next one into the same array.

    Stable-Baselines3's DummyVecEnv keeps the last observation of an episode while it resets.
    """

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return kept(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        observation, *rest = self.env.step(action)
        return (kept(observation), *rest)


def environment_spec(venv: VecEnv) -> EnvSpec | None:
    """Return the specification of one environment of a VecEnv; None if it was not made from an id.

    The vector form of an environment keeps its own arguments in its specification; they are left
    out, so that Gymnasium can make single and vector forms from it. So are Stable-Baselines3's
    Monitor and `OwnObservations`, which change nothing and which Gymnasium cannot create.
    """
    spec = venv.get_attr("spec")[0] if venv.has_attr("spec") else None
    if spec is None:
        return None
    own = copy.deepcopy(spec)
    for name in VECTOR_ARGUMENTS:
        own.kwargs.pop(name, None)
    essential = (one for one in own.additional_wrappers if one.entry_point not in TRANSPARENT)
    own.additional_wrappers = tuple(essential)
    return own


@contextmanager
def errors_named(venv: VecEnv | None, seed: int | None) -> Iterator[None]:
    """Let the errors of environments name their id and the seed of the training."""
    try:
        yield
    except (CostSignalError, NonFiniteEnvError) as error:
        spec = None if venv is None else environment_spec(venv)
        where = "an environment without an id" if spec is None else spec.id
        raise type(error)(f"{where}, seed {seed}: {error}") from error


def _has_native_form(env_id: str) -> bool:
    """Return whether there is a vector form that can reset in the same step."""
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)  # registers the id, which gymnasium.spec does not do
    entry_point = gym.spec(name).vector_entry_point
    if entry_point is None:
        return False
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return "autoreset_mode" in inspect.signature(creator).parameters


def as_vec_env(
    env: AnyEnv, n_envs: int, undeclared: tuple[ConstraintSpec, ...]
) -> VecEnv | gym.Env:
    """Return an environment that Stable-Baselines3 accepts.

    Environments that declare no constraints get those in `undeclared`, read from `info["cost"]`;
    a single environment also from the third of six values of `step`.

    Args:
        env: in any form.
        n_envs: copies to make of an id.
        undeclared: constraints of environments that declare none.

    Raises:
        TypeError: if it is none of these forms.
        ValueError: if there are no environments in it.
    """
    check_form(env)
    if isinstance(env, str):
        return _made(env, n_envs, undeclared, {})
    if isinstance(env, gym.vector.VectorEnv):
        return GymnasiumVecEnv(env, undeclared)
    if isinstance(env, VecEnv):
        if env.num_envs < 1:
            raise ValueError("the VecEnv has no environments; pass one with at least one")
        return env
    if undeclared and not env.has_wrapper_attr("constraints"):
        env = ConstrainedWrapper(env, undeclared)
    return OwnObservations(env)


def check_form(env: object) -> None:
    """Raise TypeError unless this is an environment in one of the forms of `AnyEnv`."""
    if not isinstance(env, AnyEnv):
        raise TypeError(
            f"env is {env!r}; pass a Gymnasium id, an environment, a Gymnasium vector environment "
            "or a VecEnv of Stable-Baselines3"
        )


def check_copies(env: AnyEnv | None, n_envs: int, default: int) -> None:
    """Raise ValueError if `n_envs` contradicts an environment that is already made.

    Args:
        env: in any form.
        n_envs: as given.
        default: of n_envs, which says nothing about the environment.
    """
    if env is None or isinstance(env, str) or n_envs == default:
        return
    made = env.num_envs if isinstance(env, gym.vector.VectorEnv | VecEnv) else 1
    if n_envs != made:
        noun = "environment" if made == 1 else "environments"
        raise ValueError(
            f"n_envs is {n_envs} but env is already made, with {made} {noun}; n_envs counts the "
            "copies to make of an id: leave it out, or pass the id"
        )


class VecStep(NamedTuple):
    """One step of N environments."""

    observations: Any  # (N, ...) or a dict of such arrays; copies
    fresh: Any  # those of them that are not the last ones of an episode, (n, ...)
    rewards: np.ndarray  # (N,)
    dones: np.ndarray  # (N,) bool: the step was the last of its episode
    infos: Any  # a sequence of one dict per environment
    stepped: np.ndarray  # (N,) bool, read-only: False for environments that were only reset


def step_of(venv: VecEnv, actions: np.ndarray) -> VecStep:
    """Return the result of `venv.step(actions)`; the environments may reuse all arrays.

    Raises:
        CostSignalError: if an environment returns six values, as in Safety-Gymnasium.
    """
    base = venv.unwrapped
    waits = base if isinstance(base, GymnasiumVecEnv) else None
    idle = None if waits is None else _some(waits.awaiting_reset)
    try:
        observations, rewards, dones, infos = venv.step(np.array(actions))
    except ValueError as error:
        if not str(error).startswith(SIX_VALUES):
            raise
        raise CostSignalError(
            "step() of an environment returns six values and not Gymnasium's five; wrap each "
            "environment: safe_envs.ConstrainedWrapper(env, constraints=...), which reads the cost "
            "from the third"
        ) from error
    observations = fresh = kept(observations)
    waiting = None if waits is None else _some(waits.awaiting_reset)
    if waiting is not None:
        acting = ~waiting
        is_dict = isinstance(observations, dict)
        parts = {key: part[acting] for key, part in observations.items()} if is_dict else None
        fresh = parts or observations[acting]
    dones = np.array(dones, dtype=np.bool_)
    stepped = _everyone(len(dones))
    if idle is not None:
        stepped = ~idle
        dones &= stepped
    return VecStep(observations, fresh, rewards, dones, infos, stepped)


def _some(chosen: np.ndarray) -> np.ndarray | None:
    """Return which environments are chosen, (N,) bool; None if none is."""
    return chosen if np.count_nonzero(chosen) else None


@lru_cache
def _everyone(num_envs: int) -> np.ndarray:
    stepped = np.ones(num_envs, dtype=np.bool_)
    stepped.setflags(write=False)
    return stepped


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
        ValueError: if there is not one limit per declared constraint, or if the copies declare
            different constraints or discounts.
    """
    discount = 1.0
    if venv.has_attr("reward_discount"):
        discount = shared_discount(venv.get_attr("reward_discount"))
    declared = declared_by(venv, same_limits=cost_limit is None)
    if declared:
        return Contract(with_limits(declared, cost_limit, "cost_limit"), discount)
    constraints = undeclared_constraints(cost_limit)
    if required and not constraints:
        raise CostSignalError(
            "the environment declares no constraints; pass cost_limit, which then bounds the sum "
            'of info["cost"] over an episode, or wrap it with safe_envs.ConstrainedWrapper'
        )
    if constraints and isinstance(venv.unwrapped, GymnasiumVecEnv):
        raise CostSignalError(
            "the GymnasiumVecEnv was made without constraints and reads no costs; make it with "
            f"GymnasiumVecEnv(venv, undeclared={constraints!r})"
        )
    return Contract(constraints, discount)


def declared_by(venv: VecEnv, same_limits: bool = True) -> tuple[ConstraintSpec, ...]:
    """Return the constraints that all environments of a VecEnv declare; () if none does.

    Args:
        venv: the environments.
        same_limits: whether they have to declare the same limits, too.

    Raises:
        ValueError: if they declare different constraints, two of one name, or a limit below 0.
        CostSignalError: if what they declare are no constraints.
    """
    if venv.has_attr("constraints"):
        declared = shared_constraints(venv.get_attr("constraints"), same_limits)
        _check_declared(declared)
        return declared
    if isinstance(venv.unwrapped, DummyVecEnv | SubprocVecEnv):
        check_all_declare(venv.env_method("has_wrapper_attr", "constraints"))
    return ()


def _check_declared(declared: Sequence[ConstraintSpec]) -> None:
    names = [one.name for one in declared]
    for one in declared:
        if names.count(one.name) > 1:
            raise ValueError(
                f"the environment declares {names.count(one.name)} constraints of the name "
                f"{one.name!r}, which logs and results could not tell apart; give each its own"
            )
        if one.limit < 0.0:
            raise ValueError(
                f"the environment declares the limit {one.limit:g} of {one.name!r}; costs are >= "
                "0, so no policy meets it: declare a limit >= 0"
            )


def declared_constraints_of(venv: VecEnv | None) -> tuple[ConstraintSpec, ...] | None:
    """Return the constraints that environments declare; None if they declare none."""
    return None if venv is None else declared_by(venv, same_limits=False) or None


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
