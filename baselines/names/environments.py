"""Environment names: a Gymnasium id or code of one's own, with arguments as a query string.

Safe/CliffWorld-v0               an id of this project or of Gymnasium
my_module:My/Env-v0              an id that a module registers when it is imported
my_module:make_env, env.py:make_env
                                 a function in a module or in a file; it returns an environment
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator

import safe_envs
from baselines.names.own_code import (
    OwnCode,
    OwnCodeError,
    is_own_code,
    own_code_in,
    own_line,
    parse_own_code,
    slug,
    told_by_line,
)
from safe_envs.contract.argument_checks import closest_hint, unknown_name
from safe_envs.tabular.model import TabularCMDP

Value = int | float | bool | str
LONGEST_SLUG = 100
OURS = "safe_envs"  # the package whose ids need no module
REFUSALS = (TypeError, ValueError, ImportError, gym.error.Error)  # of gymnasium.make

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
    """An environment and the keyword arguments to make it with, sorted by key.

    It can be sent to other processes: `make` imports the code there first.

    Args:
        id: Gymnasium id, or the label of the code that makes the environment.
        kwargs: its arguments.
        code: of one's own that registers or makes it; None for an id that is known here.
    """

    id: str
    kwargs: tuple[tuple[str, Value], ...] = ()
    code: OwnCode | None = None

    def __str__(self) -> str:
        return f"{self.id}?{urlencode(self.kwargs)}" if self.kwargs else self.id

    @property
    def slug(self) -> str:
        """A folder name; if it had to be cut, it ends with a digest of the full name."""
        short = slug(str(self))
        if len(short) > LONGEST_SLUG:
            short = f"{short[:LONGEST_SLUG]}_{hashlib.sha256(str(self).encode()).hexdigest()[:8]}"
        return short

    @property
    def table(self) -> str:
        """What a table of hyperparameters for it is called: the id or function alone."""
        return self.id if self.code is None else self.code.name

    def as_json(self) -> dict[str, Any]:
        """Return the name for config.json; `environment_in` reads it back."""
        code = {} if self.code is None else {"code": self.code.as_json()}
        return {"id": self.id, "kwargs": dict(self.kwargs), **code}

    def source(self) -> str | Callable[..., gym.Env[Any, Any]]:
        """Return the id, registered in this process, or the function that makes the environment.

        Raises:
            OwnCodeError: if its code cannot be imported, or has changed since the name was parsed.
        """
        if self.code is None:
            return self.id
        found = _registered_or_function(self.code)
        self.code.check_unchanged(_creator(found))
        return found

    def make(self, **options: Any) -> gym.Env[Any, Any]:
        """Return the environment.

        Args:
            **options: further arguments, such as `render_mode`.

        Raises:
            ValueError: if it cannot be made; the message has the user's own line.
        """
        source, arguments = self.source(), {**dict(self.kwargs), **options}
        with self.making(source, arguments):
            if isinstance(source, str):
                return gym.make(source, disable_env_checker=True, **arguments)
            made = source(**arguments)
        if not isinstance(made, gym.Env):
            raise OwnCodeError(
                f"{self.id} returned a {type(made).__name__}; it has to return a gymnasium.Env"
            )
        return made

    @contextmanager
    def making(
        self, source: str | Callable[..., gym.Env[Any, Any]], arguments: Mapping[str, Any]
    ) -> Iterator[None]:
        """Tell in one line why the environment cannot be made inside.

        Args:
            source: as `source` returned it.
            arguments: that it is made with.

        Raises:
            ValueError: if it cannot be made; the message has the user's own line.
        """
        try:
            yield
        except (Exception, SystemExit) as error:
            if self.code is None and not isinstance(error, REFUSALS):
                raise
            call = f"gymnasium.make({source!r})" if isinstance(source, str) else f"{self.id}()"
            where = own_line(error) if self.code is not None else ""
            raise ValueError(
                f"{call} with arguments {arguments} failed{f' at {where}' if where else ''}: "
                f"{type(error).__name__}: {error}"
            ) from error


def parse_environment_name(text: str) -> EnvironmentName:
    """Return the environment of "id", "module:id", "file.py:function" or one with "?key=value".

    The module or the file is imported. Arguments are separated by "&". A value becomes an int, a
    float or a bool ("true", "false") if it looks like one.

    Raises:
        ValueError: if the query string is malformed, repeats a key, or the id is not registered;
            if a module or a file cannot be imported, or has no such id or function.
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
    kwargs = tuple(sorted((key, _parse(value)) for key, value in pairs))
    if not is_own_code(env_id):
        if env_id not in gym.registry:
            raise ValueError(
                f"{unknown_name('environment', env_id, _our_ids(env_id))}. An id that a module of "
                f"yours registers: module:{env_id}"
            )
        return EnvironmentName(env_id, kwargs)
    code = parse_own_code(env_id)
    found = _registered_or_function(code)
    code = code.identified(_creator(found))
    if isinstance(found, str) and code.place.partition(".")[0] == OURS:
        return EnvironmentName(found, kwargs)  # the same as without its module
    return EnvironmentName(code.label, kwargs, code)


def environment_in(data: dict[str, Any]) -> EnvironmentName:
    """Return the environment that `EnvironmentName.as_json` turned into data.

    Nothing is imported. An id with a module always has code, so that whoever makes the environment
    can ask for consent first.
    """
    code = own_code_in(data["code"]) if "code" in data else None
    if code is None and is_own_code(data["id"]):
        code = parse_own_code(data["id"])
    return EnvironmentName(data["id"], tuple(sorted(data["kwargs"].items())), code)


def check_import(folder: Path, env: EnvironmentName, import_env: bool) -> None:
    """Raise ValueError if a folder would decide which code is run to make an environment.

    Args:
        folder: of a run, which may come from someone else.
        env: that it names.
        import_env: whether importing any module or file is allowed.
    """
    if env.code is not None and not import_env:
        raise ValueError(
            f"the environment of {folder} is {env}, and to make it, {env.code} is imported, which "
            "runs its code; pass --import-env if you trust it, or import_env=True in Python"
        )


def _registered_or_function(code: OwnCode) -> str | Callable[..., gym.Env[Any, Any]]:
    """Import the code and return the id that it registers, or its function."""
    names = vars(code.module())
    if code.name in gym.registry:
        return code.name
    if callable(names.get(code.name)):
        function: Callable[..., gym.Env[Any, Any]] = names[code.name]
        return function
    package = code.place.partition(".")[0]
    own = [s.id for s in gym.registry.values() if str(s.entry_point).startswith(package)]
    own += [name for name, value in names.items() if callable(value) and not name.startswith("_")]
    raise OwnCodeError(
        f"{code} neither registers the environment {code.name!r} nor has a function of that "
        f"name; {closest_hint(code.name, own)}it has {', '.join(sorted(own)) or 'none'}"
    )


def _creator(source: str | Callable[..., gym.Env[Any, Any]]) -> Any:
    """Return the class or function that makes the environment."""
    if not isinstance(source, str):
        return source
    entry_point = gym.spec(source).entry_point
    if not isinstance(entry_point, str):
        return entry_point
    with told_by_line(f"importing {entry_point}"):
        return load_env_creator(entry_point)


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
    with closing(name.make()) as env:
        known = env.unwrapped
        return known.tabular_model() if isinstance(known, HasTabularModel) else None


def find_tabular_observations(name: EnvironmentName) -> np.ndarray | None:
    """Return what an agent sees of each state of an environment's CMDP, (S, ...).

    None if it has no CMDP, or if it observes something other than state numbers and does not say
    what.

    Raises:
        ValueError: if Gymnasium cannot make the environment.
    """
    with closing(name.make()) as env:
        known, space = env.unwrapped, env.observation_space
        if isinstance(known, HasTabularObservations):
            return known.tabular_observations()
        if isinstance(known, HasTabularModel) and isinstance(space, gym.spaces.Discrete):
            return np.arange(space.n)
        return None


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
