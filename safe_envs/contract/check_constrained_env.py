"""The conformance check of the cost contract, for any environment."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from safe_envs.contract.argument_checks import check_count, check_whole
from safe_envs.contract.checked_rollout import Transition, checked_rollout, require
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostSignalError,
    NonFiniteEnvError,
    declared_constraints,
)
from safe_envs.contract.gymnasium_check import gymnasium_remarks
from safe_envs.contract.transition_values import plain_entries
from safe_envs.contract.vector_checks import (
    EnvFactory,
    Rollout,
    check_dummy_vec_env,
    check_native_form,
    check_vector_forms,
)
from safe_envs.contract.vector_env import AutoresetMode

SB3_ACTIONS = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiDiscrete,
    gym.spaces.MultiBinary,
)


@dataclass(frozen=True)
class ContractReport:
    """The checks that `check_constrained_env` ran; all in `passed` succeeded."""

    environment: str
    passed: tuple[str, ...]
    skipped: tuple[str, ...]  # each with its reason
    notes: tuple[str, ...] = ()  # allowed, but may cause trouble in other libraries

    def __str__(self) -> str:
        lines = [f"{self.environment} follows the cost contract:"]
        lines += [f"  passed   {name}" for name in self.passed]
        lines += [f"  skipped  {name}" for name in self.skipped]
        lines += [f"  note     {note}" for note in self.notes]
        return "\n".join(lines)


def check_constrained_env(
    id_or_factory: str | EnvFactory, *, steps: int = 200, num_envs: int = 3, **kwargs: Any
) -> ContractReport:
    """Check that an environment follows the cost contract, and return what was checked.

    Runs Gymnasium's own `check_env`, then the rules of `safe_envs.contract.cost_signal` on random
    rollouts, determinism under a seed, and rejection of bad actions. It also checks that every
    cost, including terminal ones, arrives through SyncVectorEnv and AsyncVectorEnv in both
    autoreset modes, through the environment's native vector form if it has one, and through
    Stable-Baselines3's DummyVecEnv if that package is installed.

    Args:
        id_or_factory: a registered id, also as "module:id", or a function without arguments that
            makes the environment.
        steps: length of each rollout; choose it long enough for episodes to end.
        num_envs: copies in the vector environments.
        kwargs: arguments for `gymnasium.make`; only with an id.

    Raises:
        CostSignalError: at the first violated rule; the message names the rule, step and value. An
            error raised by the environment or another library is its cause.
        TypeError: if this is neither an id nor a function.
        gym.error.Error: if there is no such id.
        ImportError: if the module of an id cannot be imported.
    """
    check_whole("steps", steps, low=2)  # a reset and a step
    check_count(num_envs=num_envs)
    name, make, has_native = _resolve(id_or_factory, kwargs)
    with _explained("making the environment"):
        env = make()
    require(isinstance(env, gym.Env), f"{name} made {env!r}, which is not a gymnasium.Env")
    constraints = _check_declaration(env)
    env.close()
    with _explained(f"gymnasium.utils.env_checker.check_env of {name}"):
        notes = [f"check_env: {remark}" for remark in gymnasium_remarks(make)]
    with _explained("a random rollout"):
        rollouts = [checked_rollout(make(), seed, steps) for seed in range(num_envs)]
        _check_determinism(rollouts[0], checked_rollout(make(), 0, steps))
    with _explained("a bad action"):
        _check_bad_actions(make())
    notes += _plain_entries(rollouts)
    passed = ["declaration", "gymnasium.utils.env_checker.check_env", "costs of random rollouts"]
    passed += ["determinism under a seed", "refusal of bad actions"]
    skipped = []
    if any(t.terminated or t.truncated for rollout in rollouts for t in rollout):
        passed.append("terminal costs")
    else:
        skipped.append(f"terminal costs: no episode ended within {steps} steps; raise `steps`")
    if AutoresetMode is None:
        skipped.append(f"vector environments: gymnasium {gym.__version__} has no autoreset modes")
    else:
        with _explained("a vector environment"):
            passed += check_vector_forms(make, rollouts, len(constraints))
        native = []
        if has_native:
            with _explained("the native vector form"):
                native = check_native_form(name, kwargs, rollouts[0], len(constraints))
        passed += native
        if not native:
            skipped.append("native vector form: the environment has none")
    sb3 = "stable_baselines3 DummyVecEnv"
    if importlib.util.find_spec("stable_baselines3") is None:
        skipped.append(f"{sb3}: the package is not installed")
    elif not isinstance(env.action_space, SB3_ACTIONS):
        skipped.append(f"{sb3}: the package has no {type(env.action_space).__name__} actions")
    else:
        with _explained(sb3):
            passed.append(check_dummy_vec_env(make, rollouts, len(constraints)))
    return ContractReport(name, tuple(passed), tuple(skipped), tuple(notes))


def _resolve(
    id_or_factory: str | EnvFactory, kwargs: dict[str, Any]
) -> tuple[str, EnvFactory, bool]:
    """Return the environment's name, a function that makes it, and whether it has a native form."""
    if isinstance(id_or_factory, str):
        module, _, env_id = id_or_factory.rpartition(":")
        if module:
            _import_for(id_or_factory, module)
        spec = gym.spec(env_id)
        make = partial(gym.make, id_or_factory, **kwargs)
        return id_or_factory, make, spec.vector_entry_point is not None
    if not callable(id_or_factory):
        raise TypeError(
            f"{id_or_factory!r} is neither an id nor a function that makes an environment"
        )
    if kwargs:
        raise TypeError(
            f"{sorted(kwargs)} can only be passed with an id; set them inside the function"
        )
    with _explained("making the environment"):
        return str(id_or_factory()), id_or_factory, False


def _import_for(env_id: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"the id {env_id!r} names the module {module!r}, which cannot be imported: {error}; "
            "pass 'module:id' with the module that registers the environment"
        ) from error


@contextmanager
def _explained(check: str) -> Iterator[None]:
    """Turn any error inside into one that names the check that failed."""
    try:
        yield
    except (CostSignalError, NonFiniteEnvError):
        raise
    except Exception as error:
        raise CostSignalError(f"{check} failed with {type(error).__name__}: {error}") from error


def _plain_entries(rollouts: Sequence[Rollout]) -> list[str]:
    """Return a note about info entries that are neither NumPy values nor strings."""
    names = {name for rollout in rollouts for t in rollout for name in plain_entries(t.info)}
    if not names:
        return []
    return [
        f"{', '.join(sorted(names))}: libraries that read a value's dtype, such as torchrl, "
        "cannot use them; report NumPy scalars and arrays"
    ]


def _check_declaration(env: gym.Env) -> tuple[ConstraintSpec, ...]:
    constraints = declared_constraints(env)
    inner: Any = env.unwrapped
    require(
        isinstance(constraints, tuple) and all(isinstance(c, ConstraintSpec) for c in constraints),
        f"constraints is {constraints!r}; declare a tuple of ConstraintSpec",
    )
    names = [c.name for c in constraints]
    require(len(set(names)) == len(names), f"constraint names {names} are not unique")
    try:
        space, discount = inner.cost_space, inner.reward_discount
    except AttributeError as error:
        raise CostSignalError(f"the environment does not declare {error.name!r}") from None
    require(
        isinstance(space, gym.spaces.Box) and space.shape == (len(constraints),),
        f"cost_space is {space}; declare a Box of shape ({len(constraints)},)",
    )
    require(0.0 < discount <= 1.0, f"reward_discount is {discount}; it has to be in (0, 1]")
    return constraints


def _check_determinism(first: list[Transition], second: list[Transition]) -> None:
    for step, (a, b) in enumerate(zip(first, second, strict=True)):
        same = (
            data_equivalence(a.observation, b.observation)
            and (a.reward, a.terminated, a.truncated) == (b.reward, b.terminated, b.truncated)
            and np.array_equal(a.costs, b.costs)
        )
        if not same:
            raise CostSignalError(f"two rollouts with one seed differ at step {step}: {a} and {b}")


def _check_bad_actions(env: gym.Env) -> None:
    """Require ValueError for invalid actions; only Discrete and Box spaces are checked."""
    space = env.action_space
    bad: list[Any] = []
    if isinstance(space, gym.spaces.Discrete):
        bad = [int(space.start + space.n), int(space.start) - 1, 0.5]
    elif isinstance(space, gym.spaces.Box):
        bad = [np.full(space.shape, np.nan, space.dtype), np.zeros((*space.shape, 2), space.dtype)]
    for action in bad:
        env.reset(seed=0)
        try:
            env.step(action)
        except ValueError:
            continue
        raise CostSignalError(f"the action {action!r} was accepted; it has to raise ValueError")
    env.close()
