"""Fixes that safety-gymnasium 1.0.0 needs during its import; undone afterward."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import gymnasium as gym
from gymnasium.envs import registration

PACKAGE = "safety_gymnasium"


@contextmanager
def old_module_names() -> Iterator[None]:
    """Provide modules under names that Gymnasium removed in 1.0, and a stand-in for robotics.

    Broken since Gymnasium 1.0: `gymnasium.wrappers.time_limit` and four more are gone. Always
    broken: `gymnasium_robotics` is imported even though only multi-agent tasks need it.
    """
    added = {name: module for name, module in _stand_ins().items() if name not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name, module in added.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


@contextmanager
def mutable_defaults() -> Iterator[None]:
    """Accept arrays as defaults of dataclasses, one copy per instance.

    Broken since Python 3.11: a default that cannot be hashed is refused. Dataclasses that
    another thread defines meanwhile, in other packages, are unaffected.
    """
    original: Any = dataclasses.dataclass

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        if cls is None:
            return lambda decorated: dataclass(decorated, **options)
        if cls.__module__.startswith(PACKAGE):
            _copy_mutable_defaults(cls)
        return original(cls, **options)

    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = original


@contextmanager
def unchanged_registry() -> Iterator[list[dict[str, Any]]]:
    """Collect what the package registers, in place of Gymnasium's registry.

    Broken since Gymnasium 1.0: the package's ids are six-tuple environments that `gymnasium.make`
    cannot wrap, and they would replace the five-tuple ones of the same name.

    Yields:
        A list that fills with the arguments of its `register` calls.
    """
    collected: list[dict[str, Any]] = []
    original = registration.register

    def register(id: str, entry_point: Any = None, **options: Any) -> None:
        if str(entry_point).startswith(PACKAGE):
            collected.append({"id": id, "entry_point": entry_point, **options})
        else:
            original(id, entry_point, **options)

    _set_register(register)
    try:
        yield collected
    finally:
        _set_register(original)


def _set_register(register: Callable[..., None]) -> None:
    gym_module: Any = gym
    registration_module: Any = registration
    gym_module.register = registration_module.register = register


def _copy_mutable_defaults(cls: type) -> None:
    own = vars(cls)
    for name in inspect.get_annotations(cls):
        default = own.get(name)
        mutable = default is not None and type(default).__hash__ is None
        if mutable and not isinstance(default, list | dict | set):  # those are errors, as usual
            copies = dataclasses.field(default_factory=partial(deepcopy, default))
            setattr(cls, name, copies)


def _stand_ins() -> dict[str, ModuleType]:
    """Return stand-ins, by name, for modules that no longer exist, with what the package needs."""
    contents: dict[str, dict[str, Any]] = {"gymnasium_robotics": {}}
    contents["gymnasium_robotics.envs"] = {}
    contents["gymnasium_robotics.envs.multiagent_mujoco"] = {}
    contents["gymnasium_robotics.envs.multiagent_mujoco.mujoco_multi"] = {
        "MultiAgentMujocoEnv": NoMultiAgentEnv
    }
    for name, content in _old_wrappers().items():
        if find_spec(f"gymnasium.wrappers.{name}") is None:
            contents[f"gymnasium.wrappers.{name}"] = content
    modules = {name: ModuleType(name) for name in contents}
    for name, module in modules.items():
        vars(module).update(contents[name])
    return modules


def _old_wrappers() -> dict[str, dict[str, Any]]:
    wrappers: Any = gym.wrappers
    if find_spec("gymnasium.wrappers.time_limit") is not None:
        return {}
    from gymnasium.wrappers.utils import RunningMeanStd

    return {
        "compatibility": {"EnvCompatibility": NoCompatibilityLayer},
        "autoreset": {"AutoResetWrapper": wrappers.Autoreset},
        "time_limit": {"TimeLimit": wrappers.TimeLimit},
        "normalize": {
            "NormalizeObservation": wrappers.NormalizeObservation,
            "NormalizeReward": wrappers.NormalizeReward,
            "RunningMeanStd": RunningMeanStd,
        },
        "env_checker": {"PassiveEnvChecker": wrappers.PassiveEnvChecker},
    }


class NoCompatibilityLayer:
    """Replaces a wrapper for environments older than Gymnasium 0.26, which no task uses."""


class NoMultiAgentEnv:
    """Replaces gymnasium-robotics' multi-agent environment in the package's `make_ma`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise gym.error.DependencyNotInstalled(
            "make_ma needs an older gymnasium-robotics; use make_multi_agent of "
            "safe_envs.safety_gymnasium_bridge.multi_agent instead"
        )
