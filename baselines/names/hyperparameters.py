"""Hyperparameters: one TOML file per agent, and settings given on the command line.

A file holds `[default]` and any number of `["environment id"]` tables; keys are the agent's
argument names. Later ones override earlier ones: the agent's own defaults, [default], ["id"],
the command line.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from baselines.names.agents import default_hyperparameters, hyperparameter_names, label_of
from baselines.names.own_code import slug
from baselines.names.schedules import SCHEDULES, linear_schedule
from safe_envs.contract.argument_checks import unknown_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parents[1] / "hyperparameters"

Hyperparameters = dict[str, Any]
Overrides = dict[str, Hyperparameters]  # by agent
Tables = Mapping[str, Hyperparameters]  # of one agent, by environment

ALIKE = 0.8  # as `difflib` measures it; a misspelled name rather than another one


def hyperparameters_for(
    agent: str,
    env_id: str,
    overrides: Overrides | None = None,
    folder: Path = FOLDER,
    tables: Tables | None = None,
) -> Hyperparameters:
    """Return all hyperparameters of an agent on an environment.

    Args:
        agent: a name of `SOLVERS`, `DEEP_AGENTS` or `CONTROLLERS` in `baselines.names.agents`, or
            a class or policy file of one's own.
        env_id: Gymnasium id without module and arguments, or the name of a function.
        overrides: settings that override the file, from `parse_overrides`.
        folder: where the TOML files are; an agent without a file runs with its own defaults.
        tables: from `read_tables`, instead of the agent's file in the folder.

    Raises:
        ValueError: if the file is not TOML, holds something other than tables, or an unknown key.
    """
    if tables is None:
        label = label_of(agent)
        tables = {} if label != slug(label) else _tables(folder / f"{label}.toml")
    for table, settings in tables.items():
        check_settings(agent, settings, f"table [{table!r}] of its TOML file")
    chosen = (overrides or {}).get(agent, {})
    defaults = default_hyperparameters(agent)
    return {**defaults, **tables.get("default", {}), **tables.get(env_id, {}), **chosen}


def read_tables(path: Path, envs: Sequence[str]) -> Tables:
    """Return the tables of one agent in a TOML file of the user.

    Args:
        path: of the file.
        envs: the environments of the command, as `hyperparameters_for` takes them.

    Raises:
        ValueError: if there is no such file, it is not TOML, or a table's name is misspelled.
    """
    tables = _existing_tables(path)
    _check_table_names(str(path), tables, envs)
    return tables


def read_tables_by_agent(
    path: Path, agents: Sequence[str], envs: Sequence[str]
) -> dict[str, Tables]:
    """Return the tables of each agent in a TOML file with one more level, the agent's name.

    Args:
        path: of the file.
        agents: that are compared; a class of one's own may be named without its module or file.
        envs: as `read_tables`.

    Raises:
        ValueError: as `read_tables`, and for an agent that is not compared.
    """
    found: dict[str, Tables] = {}
    for name, tables in _existing_tables(path).items():
        agent = _agent_meant(name, agents)
        for table, settings in tables.items():
            if not isinstance(settings, dict):
                raise ValueError(
                    f"{path} sets {table!r} of {name} outside a table; write it below "
                    f'[{name}.default] or [{name}."environment id"]'
                )
        _check_table_names(f"{name} in {path}", tables, envs)
        found[agent] = tables
    return found


def read_toml_tables(path: Path, below: str = "[name]") -> dict[str, dict[str, Any]]:
    """Return the tables of a TOML file that has nothing outside of them.

    Args:
        path: of the file.
        below: tables that an entry outside of them may belong in, for the message.

    Raises:
        ValueError: if it is not TOML, or an entry is outside of a table.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{path} sets {name!r} outside a table; move it below {below}")
    return tables


def parse_overrides(texts: Sequence[str], agents: Sequence[str] = ()) -> Overrides:
    """Return the settings of texts such as "npg_pd.step_size=1"; values read as in TOML.

    Args:
        texts: the settings.
        agents: that run; a class of one's own may be named without its module or file. If empty,
            every known agent may be named.

    Raises:
        ValueError: if a text has another form or names an unknown agent or hyperparameter.
    """
    overrides: Overrides = {}
    for text in texts:
        target, equals, value = text.partition("=")
        named, dot, key = target.strip().rpartition(".")
        if not (equals and dot and key):
            raise ValueError(f"{text!r} is not a setting; write agent.argument=value")
        agent = _agent_meant(named, agents) if agents else named
        overrides.setdefault(agent, {}).update(parse_settings(agent, [f"{key}={value}"]))
    return overrides


def parse_settings(agent: str, texts: Sequence[str]) -> Hyperparameters:
    """Return the settings of one agent in texts such as "step_size=1"; values read as in TOML.

    Raises:
        ValueError: if a text has another form or names an unknown hyperparameter.
    """
    settings: Hyperparameters = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or "." in key:
            raise ValueError(f"{text!r} is not a setting of {agent}; write argument=value")
        settings[key.strip()] = _toml_value(value.strip())
    check_settings(agent, settings)
    return settings


def check_settings(agent: str, settings: Hyperparameters, where: str = "") -> None:
    """Raise ValueError for a name that no hyperparameter of the agent has, or a malformed schedule.

    Args:
        agent: as in `hyperparameters_for`.
        settings: by name.
        where: they are set, for the message.
    """
    known = hyperparameter_names(agent)
    place = f" ({where})" if where else ""
    for key, value in settings.items():
        if known is not None and key not in known:
            raise ValueError(
                f"{unknown_name('hyperparameter', key, known)}; of {label_of(agent)}{place}"
            )
        if key in SCHEDULES and isinstance(value, str):
            try:
                linear_schedule(key, value)
            except ValueError as error:
                raise ValueError(f"{error}; of {label_of(agent)}{place}") from error


def _agent_meant(named: str, agents: Sequence[str]) -> str:
    """Return the agent, as it was passed, that a setting is for."""
    if named in agents:
        return named
    meant = [one for one in agents if named in (label_of(one), _class_name(one))]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ValueError(
            f"{named!r} may be {' or '.join(meant)}; write the module or the file as well"
        )
    known = list(dict.fromkeys([*agents, *map(_class_name, agents)]))
    raise ValueError(f"{unknown_name('agent', named, known)} (they are what this command runs)")


def _class_name(agent: str) -> str:
    return agent.rpartition(":")[2]


def _existing_tables(path: Path) -> dict[str, Hyperparameters]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; pass a TOML file of hyperparameters")
    return _tables(path)


def _check_table_names(path: str, tables: Tables, envs: Sequence[str]) -> None:
    """Raise ValueError for tables that set nothing, or that are misspelled."""
    if not {"default", *envs} & {*tables}:
        raise ValueError(
            f"{path} sets nothing for {', '.join(envs)}; its tables are "
            f"{', '.join(tables) or 'none'}: write [default] or [{envs[0]!r}]"
        )
    for table in tables:
        close = difflib.get_close_matches(table, ["default", *envs], n=1, cutoff=ALIKE)
        if close and close[0] != table and table not in gym.registry:
            raise ValueError(
                f"{path} has a table [{table!r}], which no environment here is called; "
                f"did you mean {close[0]!r}?"
            )


def _tables(path: Path) -> dict[str, Hyperparameters]:
    if not path.exists():
        return {}
    return read_toml_tables(path, '[default] or ["environment id"]')


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
