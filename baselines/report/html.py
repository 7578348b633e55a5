"""The comparison as one HTML file that needs no network, fonts or other files."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.table import Table

from baselines.jobs.job import AnyOutcome, Category
from baselines.report.episodes_summary import MODES
from baselines.report.result_lines import KnownOptimum, ResultLine, best_of, in_order

TEMPLATES = Path(__file__).parent / "templates"


class Section(Protocol):
    """What the report shows about one kind of result on one environment."""

    @property
    def template(self) -> str:
        """File of `TEMPLATES` that shows it."""

    @property
    def outcomes(self) -> Sequence[AnyOutcome]:
        """All that it shows."""

    @property
    def known_optimum(self) -> KnownOptimum | None:
        """The optimum of the problem, if this section knows it."""

    def results(self) -> list[ResultLine]:
        """Return a line per agent for the table of results."""

    def tables(self) -> list[Table]:
        """Return the tables for the terminal."""


class EnvironmentPart(NamedTuple):
    """The part of the report about one environment."""

    name: str
    sections: Sequence[Section]

    @property
    def optimum(self) -> KnownOptimum | None:
        """The optimum that a section knows."""
        known = (section.known_optimum for section in self.sections)
        return next((optimum for optimum in known if optimum is not None), None)

    @property
    def lines(self) -> list[ResultLine]:
        """The results of all agents, the best first."""
        return in_order([line for section in self.sections for line in section.results()])

    @property
    def limits(self) -> tuple[float, ...]:
        """Limits of the first agent that has a result; () without any."""
        return next((line.limits for line in self.lines if line.limits), ())


class Warned(NamedTuple):
    """A warning that some seeds of an agent raised on an environment."""

    agent: str
    env: str
    seeds: list[int]
    message: str  # of the first of them


def report_html(title: str, command: str, parts: Sequence[EnvironmentPart]) -> str:
    """Return the report as HTML text; everything from outside is escaped.

    Args:
        title: heading.
        command: the command line that makes this report.
        parts: one per environment.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        data_uri=data_uri,
        svg_uri=svg_uri,
        best=best_of,
        scientific=_scientific,
        error=_error,
        numbers=_numbers,
        short=_short,
        value=_value,
        signed=_signed,
    )
    shown = [outcome for part in parts for one in part.sections for outcome in one.outcomes]
    tabular = [outcome for outcome in shown if outcome.job.section == "solvers"]
    deep = [outcome for outcome in shown if outcome.job.section == "episodes"]
    outcomes = [*tabular, *deep]
    return environment.get_template("report.html.jinja").render(
        title=title,
        command=command,
        parts=parts,
        versions=_versions(outcomes),
        solvers=list(dict.fromkeys(outcome.job.agent for outcome in tabular)),
        deep_agents=_agents(deep, "deep agent"),
        controllers=_agents(deep, "controller"),
        finished_policies=_agents(deep, "finished policy"),
        starts=list(dict.fromkeys(outcome.job.seed for outcome in tabular)),
        seeds=_seeds(deep),
        evaluations=_range([outcome.job.evaluations for outcome in tabular]),
        timesteps=_range([o.job.total_timesteps for o in deep if o.job.category == "deep agent"]),
        modes=MODES,
        failed=[outcome for outcome in outcomes if outcome.result is None],
        warned=_warnings(outcomes),
        settings=_settings(outcomes),
    )


def data_uri(path: Path) -> str:
    """Return the content of a PNG or SVG file as a data: address."""
    kind = {".png": "image/png", ".svg": "image/svg+xml"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def svg_uri(svg: str) -> str:
    """Return an SVG picture as a data: address."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _range(numbers: Sequence[int]) -> str:
    """Return a number, or the least and the largest of several."""
    found = sorted(set(numbers))
    return " to ".join(f"{number:,}" for number in dict.fromkeys([*found[:1], *found[-1:]]))


def _seeds(outcomes: Sequence[AnyOutcome]) -> str:
    """Return the seeds of the agents, apart if they differ."""
    found: dict[str, list[int]] = {}
    for outcome in outcomes:
        seeds = found.setdefault(outcome.job.agent, [])
        if outcome.job.seed not in seeds:
            seeds.append(outcome.job.seed)
    groups: dict[str, list[str]] = {}
    for agent, seeds in found.items():
        groups.setdefault(", ".join(map(str, seeds)), []).append(agent)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{seeds} of {', '.join(agents)}" for seeds, agents in groups.items())


def _warnings(outcomes: Sequence[AnyOutcome]) -> list[Warned]:
    """Return the warnings; those that differ only in their numbers are one."""
    found: dict[tuple[str, str, str], Warned] = {}
    for outcome in outcomes:
        for message in outcome.result.warnings if outcome.result else ():
            agent, env, seed = outcome.job.agent, str(outcome.job.env), outcome.job.seed
            same = agent, env, re.sub(r"[\d.]+", "0", message)
            entry = found.setdefault(same, Warned(agent, env, [], message))
            if seed not in entry.seeds:
                entry.seeds.append(seed)
    return list(found.values())


def _agents(outcomes: Sequence[AnyOutcome], category: Category) -> list[str]:
    """Return the names of the agents of a category."""
    return list(dict.fromkeys(o.job.agent for o in outcomes if o.job.category == category))


def _settings(outcomes: Sequence[AnyOutcome]) -> list[dict[str, Any]]:
    """Return the hyperparameters of every agent, one entry per distinct setting."""
    found: list[dict[str, Any]] = []
    for outcome in outcomes:
        agent, settings = outcome.job.agent, outcome.job.record.config["hyperparameters"]
        same = [s for s in found if s["agent"] == agent and s["settings"] == settings]
        if not same:
            same = [{"agent": agent, "settings": settings, "envs": []}]
            found += same
        if str(outcome.job.env) not in same[0]["envs"]:
            same[0]["envs"].append(str(outcome.job.env))
    return sorted(found, key=lambda setting: setting["agent"])


def _versions(outcomes: Sequence[AnyOutcome]) -> dict[str, str]:
    """Return the versions the jobs ran with; several of one package if some jobs were kept."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        for package, number in (outcome.result.versions if outcome.result else {}).items():
            numbers = found.setdefault(package, [])
            if number not in numbers:
                numbers.append(number)
    return {package: " and ".join(numbers) for package, numbers in found.items()}


def _scientific(number: float) -> str:
    return f"{number:+.1e}".replace("-", "\N{MINUS SIGN}")


def _error(number: float) -> str:
    return f"{number:.1e}".replace("-", "\N{MINUS SIGN}")


def _short(number: float) -> str:
    return f"{number:.4g}".replace("-", "\N{MINUS SIGN}")


def _value(number: float) -> str:
    return f"{number:.5g}".replace("-", "\N{MINUS SIGN}")


def _signed(number: float) -> str:
    return f"{number:+.3g}".replace("-", "\N{MINUS SIGN}")


def _numbers(array: np.ndarray) -> str:
    return ", ".join(f"{number:.6g}" for number in array)
