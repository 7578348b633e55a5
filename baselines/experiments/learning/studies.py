"""Studies of agents' settings: which variants are trained, where, and from which seeds.

A study is a table of a TOML file:

    [initial_noise]
    question = "How widely should a policy explore at first?"
    environments = ["SafetyHopperVelocity-v1"]
    agents = ["PPO", "PPOLag"]
    seeds = [20, 21, 22]
    total_timesteps = 300_000
    variants.log_std_0 = { "*" = { policy_kwargs = { log_std_init = 0.0 } } }
    variants.log_std_1 = { "*" = { policy_kwargs = { log_std_init = -1.0 } } }

Values are written as in baselines/hyperparameters/*.toml. A variant has settings for "*", which is
every agent of the study, and for single agents, which override those. They lie on top of the
agent's defaults and its own table for the environment; of a setting that is a table itself, such
as `policy_kwargs`, only the entries that the variant names change.

The first variant is what the others are compared with. `variants.defaults = {}` changes nothing. An
agent whose settings are the same in two variants is trained and shown in the first of them alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from baselines.jobs.stored_result import checked_result
from baselines.names.agents import kind_of, label_of
from baselines.names.environments import EnvironmentName
from baselines.names.hyperparameters import (
    Hyperparameters,
    check_settings,
    hyperparameters_for,
    read_toml_tables,
)
from safe_envs.contract.argument_checks import unknown_name

STUDIES = Path(__file__).with_name("studies.toml")
EVERY_AGENT = "*"
TRAINED = ("deep agent", "plain agent")  # the kinds of agents that learn from steps

Variant = dict[str, Hyperparameters]  # settings by agent, or by `EVERY_AGENT`


@dataclass(frozen=True)
class Study:
    """What is trained to answer a question about agents' settings."""

    name: str
    question: str  # in one line
    environments: tuple[str, ...]  # as `compare` takes them
    agents: tuple[str, ...]  # as `compare` takes them: names, module:Class, file.py:Class
    seeds: tuple[int, ...]
    total_timesteps: int  # of each training
    variants: dict[str, Variant]  # by name; the first is compared with
    labels: dict[str, str] = field(default_factory=dict)  # shown instead of agents' names

    def label(self, agent: str) -> str:
        """Return the name of an agent in tables."""
        return self.labels.get(agent, label_of(agent))

    def settings(self, agent: str, env: EnvironmentName, variant: str) -> Hyperparameters:
        """Return the settings that a variant changes, whole tables included."""
        given = self.variants[variant]
        changed = on_top(given.get(EVERY_AGENT, {}), given.get(agent, {}))
        merged = on_top(hyperparameters_for(agent, env.table), changed)
        return {name: merged[name] for name in changed}


def on_top(under: Mapping[str, Any], over: Mapping[str, Any]) -> Hyperparameters:
    """Return settings with others on top; entries of tables are replaced one by one."""
    merged = dict(under)
    for name, value in over.items():
        below = under.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            value = {**below, **value}
        merged[name] = value
    return merged


def read_studies(path: Path) -> dict[str, Study]:
    """Return the studies of a TOML file by name.

    Raises:
        ValueError: if there is no such file, it is not TOML, or an entry of a study is missing,
            unknown or of another type. Names of agents, environments and settings are checked by
            `check_study` and when the study is planned.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}; pass a TOML file of studies")
    return {name: _study(name, table, path) for name, table in read_toml_tables(path).items()}


def chosen_study(name: str, studies: Mapping[str, Study], path: Path) -> Study:
    """Return the study of that name, after checking its agents and settings.

    Raises:
        ValueError: for an unknown name, with the known ones, or if `check_study` refuses it.
    """
    if name not in studies:
        raise ValueError(f"{unknown_name('study', name, studies)} (in {path})")
    check_study(studies[name])
    return studies[name]


def check_study(study: Study) -> None:
    """Raise ValueError for an unknown agent or setting, or agents that tables cannot tell apart."""
    for key, given in (("environments", study.environments), ("agents", study.agents)):
        if not given:
            raise ValueError(f"study {study.name!r} has no {key}; write at least one name")
    for agent in study.agents:
        kind = kind_of(agent)
        if kind not in TRAINED:
            raise ValueError(
                f"study {study.name!r} has the agent {agent}, which is a {kind}; a study trains "
                "deep agents: write a class of `agents`, module:Class or file.py:Class"
            )
    _check_labels(study)
    for variant in study.variants:
        _check_variant(study, variant)


def _check_labels(study: Study) -> None:
    for agent in study.labels:
        if agent not in study.agents:
            known = unknown_name("agent", agent, study.agents)
            raise ValueError(f"{known} (labels of study {study.name!r})")
    shown = [study.label(agent) for agent in study.agents]
    if len(set(shown)) < len(shown):
        raise ValueError(
            f"study {study.name!r} shows two agents by one name ({', '.join(shown)}); give them "
            "different labels"
        )


def _check_variant(study: Study, variant: str) -> None:
    where = f"variant {variant!r} of study {study.name!r}"
    for agent, settings in study.variants[variant].items():
        if agent not in (EVERY_AGENT, *study.agents):
            known = unknown_name("agent", agent, [EVERY_AGENT, *study.agents])
            raise ValueError(f"{known} ({where})")
        for meant in study.agents if agent == EVERY_AGENT else (agent,):
            check_settings(meant, settings, where)


def _study(name: str, table: Mapping[str, Any], path: Path) -> Study:
    where = f"study {name!r} in {path}"
    try:
        study = checked_result(Study, {"variants": {}, **_without_variants(table), "name": name})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    variants = table.get("variants")
    if not isinstance(variants, dict) or not variants:
        raise ValueError(f"{where} has no variants; write variants.defaults = {{}} for none")
    for variant, by_agent in variants.items():
        if not isinstance(by_agent, dict) or not all(
            isinstance(s, dict) for s in by_agent.values()
        ):
            raise ValueError(
                f"{where}: variant {variant!r} is {by_agent!r}; write settings below an agent's "
                f'name or "*": {variant} = {{ "*" = {{ n_steps = 1024 }} }}'
            )
    return replace(study, variants=variants)


def _without_variants(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that are plain JSON data; settings may be infinite."""
    return {key: value for key, value in table.items() if key != "variants"}
