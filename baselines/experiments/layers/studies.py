"""Studies of constraint layers: which settings are trained, on which problems, from which seeds.

A study is a table of a TOML file:

    [small]
    question = "Which training works?"
    problems = ["qcqp 20/10/10 1"]     # family, outputs / equalities / inequalities, data seed
    seeds = [0, 1, 2]                   # of the network
    base = { steps = 600 }              # of all variants; see `LayerTraining`
    variants.soft = {}
    variants."LM active" = { layer = "active" }
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from baselines.experiments.layers.networks import NetworkSetting
from baselines.experiments.layers.problems import ProblemSetting
from baselines.experiments.layers.training import LayerTraining
from baselines.names.hyperparameters import read_toml_tables
from safe_envs.contract.argument_checks import unknown_name

STUDIES = Path(__file__).with_name("studies.toml")
KEYS = ("question", "problems", "seeds", "base", "variants")
OWN = ("problem", "seed")  # of a setting; a study sets them


@dataclass(frozen=True)
class LayerStudy:
    """What is trained to answer a question about constraint layers."""

    name: str
    question: str
    problems: tuple[ProblemSetting, ...]
    seeds: tuple[int, ...]
    variants: dict[str, dict[str, Any]]  # settings by name, those of all variants included

    def settings(self) -> dict[str, list[LayerTraining]]:
        """Return the trainings of each variant, over problems and seeds."""
        return {
            name: [
                layer_setting({**given, "problem": problem, "seed": seed})
                for problem in self.problems
                for seed in self.seeds
            ]
            for name, given in self.variants.items()
        }


def layer_setting(given: Mapping[str, Any]) -> LayerTraining:
    """Return a setting from names and values, the network's as a table.

    Raises:
        ValueError: for an unknown name or a value out of range.
    """
    _check_names("setting", given, [one.name for one in fields(LayerTraining)])
    network = given.get("network", {})
    if not isinstance(network, NetworkSetting):
        _check_names(
            "setting of the network", network, [one.name for one in fields(NetworkSetting)]
        )
        network = NetworkSetting(**network)
    return LayerTraining(**{**given, "network": network})


def problem_named(text: str) -> ProblemSetting:
    """Return the problem of a text such as "qcqp 20/10/10 1".

    Raises:
        ValueError: if the text has another form, or names an unknown family.
    """
    try:
        family, sizes, seed = text.split()
        return ProblemSetting(family, tuple(map(int, sizes.split("/"))), int(seed))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"the problem is {text!r}; write the family, outputs/equalities/inequalities and the "
            f"seed of the data, such as 'qcqp 20/10/10 1' ({error})"
        ) from error


def read_layer_studies(path: Path = STUDIES) -> dict[str, LayerStudy]:
    """Return the studies of a TOML file by name.

    Raises:
        ValueError: if the file or one of its studies is malformed.
    """
    found = {}
    for name, table in read_toml_tables(path).items():
        _check_names(f"entry of [{name}]", table, KEYS)
        missing = [key for key in KEYS if key not in table]
        if missing:
            raise ValueError(f"[{name}] of {path} lacks {' and '.join(missing)}")
        variants = {one: _on_top(table["base"], own) for one, own in table["variants"].items()}
        problems = tuple(map(problem_named, table["problems"]))
        study = LayerStudy(name, table["question"], problems, tuple(table["seeds"]), variants)
        study.settings()  # checks them
        found[name] = study
    return found


def _on_top(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    for name in OWN:
        if name in under or name in over:
            raise ValueError(f"{name} is set for a variant; use problems and seeds")
    network = {**under.get("network", {}), **over.get("network", {})}
    return {**under, **over, "network": network}


def _check_names(kind: str, given: Mapping[str, Any], known: Any) -> None:
    for name in given:
        if name not in known:
            raise ValueError(unknown_name(kind, name, known))
