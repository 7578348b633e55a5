"""Environment names: a Gymnasium id, optionally with keyword arguments as a query string."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

import safe_envs
from safe_envs.contract.argument_checks import unknown_name
from safe_envs.tabular.model import TabularCMDP

Value = int | float | bool | str
LONGEST_SLUG = 100
OWN_PACKAGE = "safe_envs"  # whose modules are imported without asking

gym.register_envs(safe_envs)  # shows that the import, which registers the ids, is intended


@runtime_checkable
class HasTabularModel(Protocol):
    """An environment whose transitions, rewards and costs are known tables."""

    def tabular_model(self) -> TabularCMDP:
        """Return the CMDP that the environment samples."""


@runtime_checkable
class HasTabularObservations(Protocol):
    """An environment that reports its observation of each state."""

    def tabular_observations(self) -> np.ndarray:
        """Return the observation of each state of the CMDP, (S, ...)."""


@dataclass(frozen=True)
class EnvironmentName:
    """A Gymnasium id and the keyword arguments to make it with, sorted by key."""

    id: str
    kwargs: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        return f"{self.id}?{urlencode(self.kwargs)}" if self.kwargs else self.id

    @property
    def slug(self) -> str:
        """A folder name; if it had to be cut, it ends with a digest of the full name."""
        slug = re.sub(r"[^A-Za-z0-9.=-]+", "_", str(self))
        if len(slug) > LONGEST_SLUG:
            slug = f"{slug[:LONGEST_SLUG]}_{hashlib.sha256(str(self).encode()).hexdigest()[:8]}"
        return slug


def parse_environment_name(text: str) -> EnvironmentName:
    """Return the id and arguments of "id" or "id?key=value&key=value".

    A value becomes an int, a float or a bool ("true", "false") if it looks like one.

    Raises:
        ValueError: if the query string is malformed, repeats a key, or the id is not registered.
    """
    env_id, _, query = text.partition("?")
    try:
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        if query:
            raise ValueError(
                f"{text!r} has a malformed query string ({error}); write "
                "'id?key=value&key=value' and quote it for the shell"
            ) from error
        pairs = []
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"{text!r} repeats an argument; give each of {keys} once")
    if ":" not in env_id and env_id not in gym.registry:
        raise ValueError(unknown_name("environment", env_id, _our_ids(env_id)))
    return EnvironmentName(env_id, tuple(sorted((key, _parse(value)) for key, value in pairs)))


def check_import(folder: Path, env: EnvironmentName, import_env: bool) -> None:
    """Raise ValueError if a folder would decide which code is run to make an environment.

    Args:
        folder: of a run, which may come from someone else.
        env: that it names.
        import_env: whether importing any module is allowed.
    """
    module, separator, _ = env.id.partition(":")
    if separator and module.partition(".")[0] != OWN_PACKAGE and not import_env:
        raise ValueError(
            f"the environment of {folder} is {env}, and to make it, the module {module!r} is "
            "imported, which runs its code; pass --import-env if you trust it, or import_env=True "
            "in Python"
        )


def tabular_model_of(name: EnvironmentName) -> TabularCMDP:
    """Return the exactly known CMDP of an environment.

    Raises:
        ValueError: if Gymnasium cannot make it, or it has no tabular model.
    """
    model = find_tabular_model(name)
    if model is None:
        raise ValueError(
            f"{name} has no tabular_model(), so its policies cannot be evaluated exactly and "
            "tabular agents cannot run on it; use an environment with a known model, for "
            "example Safe/CliffWorld-v0, or deep agents, for example PPOLag"
        )
    return model


def find_tabular_model(name: EnvironmentName) -> TabularCMDP | None:
    """Return the exactly known CMDP of an environment, None if it has none.

    Raises:
        ValueError: if Gymnasium cannot make the environment.
    """
    with closing(_made(name)) as env:
        known = env.unwrapped
        return known.tabular_model() if isinstance(known, HasTabularModel) else None


def find_tabular_observations(name: EnvironmentName) -> np.ndarray | None:
    """Return what an agent sees of each state of an environment's CMDP, (S, ...).

    None if it has no CMDP, or if it observes something other than state numbers and does not say
    what.

    Raises:
        ValueError: if Gymnasium cannot make the environment.
    """
    with closing(_made(name)) as env:
        known, space = env.unwrapped, env.observation_space
        if isinstance(known, HasTabularObservations):
            return known.tabular_observations()
        if isinstance(known, HasTabularModel) and isinstance(space, gym.spaces.Discrete):
            return np.arange(space.n)
        return None


def _made(name: EnvironmentName) -> gym.Env[Any, Any]:
    arguments: dict[str, Any] = dict(name.kwargs)
    try:
        return gym.make(name.id, disable_env_checker=True, **arguments)
    except (TypeError, ValueError, ImportError, gym.error.Error) as error:
        raise ValueError(
            f"gymnasium.make({name.id!r}) with arguments {arguments} failed: "
            f"{type(error).__name__}: {error}"
        ) from error


def _our_ids(wanted: str) -> list[str]:
    """Return our ids; the hundreds of the bridge only if the name looks like one of them."""
    ours = [spec for spec in gym.registry.values() if _is_ours(spec)]
    if not wanted.startswith("Safety"):
        ours = [spec for spec in ours if "safety_gymnasium_bridge" not in str(spec.entry_point)]
    return [spec.id for spec in ours]


def _is_ours(spec: EnvSpec) -> bool:
    return isinstance(spec.entry_point, str) and spec.entry_point.startswith("safe_envs")


def _parse(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
