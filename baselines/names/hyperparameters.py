"""Hyperparameters: one TOML file per agent, and settings given on the command line.

A file holds `[default]` and any number of `["environment id"]` tables; keys are the agent's
argument names. Later ones override earlier ones: the agent's own defaults, [default], ["id"],
the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from baselines.names.agents import default_hyperparameters
from safe_envs.contract.argument_checks import unknown_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parents[1] / "hyperparameters"

Hyperparameters = dict[str, Any]
Overrides = dict[str, Hyperparameters]  # by agent


def hyperparameters_for(
    agent: str, env_id: str, overrides: Overrides | None = None, folder: Path = FOLDER
) -> Hyperparameters:
    """Return all hyperparameters of an agent on an environment.

    Args:
        agent: a name of `SOLVERS`, `DEEP_AGENTS` or `CONTROLLERS` in `baselines.names.agents`.
        env_id: Gymnasium id without arguments.
        overrides: settings that override the file, from `parse_overrides`.
        folder: where the TOML files are; an agent without a file runs with its own defaults.

    Raises:
        ValueError: if the file is not TOML, holds something other than tables, or an unknown key.
    """
    known = default_hyperparameters(agent)
    tables = _tables(folder / f"{agent}.toml")
    for table, settings in tables.items():
        _check_keys(settings, known, f"of {agent} (table [{table!r}] of {agent}.toml)")
    chosen = (overrides or {}).get(agent, {})
    return {**known, **tables.get("default", {}), **tables.get(env_id, {}), **chosen}


def parse_overrides(texts: Sequence[str]) -> Overrides:
    """Return the settings of texts such as "npg_pd.step_size=1"; values read as in TOML.

    Raises:
        ValueError: if a text has another form or names an unknown agent or hyperparameter.
    """
    overrides: Overrides = {}
    for text in texts:
        target, equals, value = text.partition("=")
        agent, dot, key = target.strip().partition(".")
        if not (equals and dot and key):
            raise ValueError(f"{text!r} is not a setting; write agent.argument=value")
        known = default_hyperparameters(agent)
        setting = {key: _toml_value(value.strip())}
        _check_keys(setting, known, f"of {agent}")
        overrides.setdefault(agent, {}).update(setting)
    return overrides


def check_settings(agent: str, settings: Hyperparameters) -> None:
    """Raise ValueError if the agent has no hyperparameter of one of these names."""
    _check_keys(settings, default_hyperparameters(agent), f"of {agent}")


def _tables(path: Path) -> dict[str, Hyperparameters]:
    if not path.exists():
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(
                f"{path} sets {name!r} outside a table; move it below [default] or "
                '["environment id"]'
            )
    return tables


def _check_keys(settings: Hyperparameters, known: Hyperparameters, where: str) -> None:
    for key in settings:
        if key not in known:
            raise ValueError(unknown_name("hyperparameter", key, known) + f"; {where}")


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
