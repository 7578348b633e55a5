"""The comparison as one HTML file that needs nothing else: no network, no fonts, no scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agents.tabular.linear_program import Optimum
from baselines.jobs.job import TabularOutcome
from baselines.jobs.training_job import TrainingOutcome
from baselines.report.results_table import AgentSummary
from baselines.report.sections import TrainingSection
from baselines.report.training_summary import MODES
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP

AnyOutcome = TabularOutcome | TrainingOutcome
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class ProblemSection:
    """What the report shows about an environment with a known model, and its tabular solvers."""

    name: str
    cmdp: TabularCMDP
    uniform: PolicyEvaluation  # of the uniform policy
    optimum: Optimum | None
    no_optimum: str  # why there is none
    plot: Path | None  # PNG or SVG file; None if no job finished
    rows: Sequence[AgentSummary]
    outcomes: Sequence[TabularOutcome]


@dataclass(frozen=True)
class ReportSection:
    """What the report shows about one environment."""

    name: str
    problem: ProblemSection | None  # None if the environment has no tabular model
    training: TrainingSection | None  # None if no deep agent or controller ran there


def report_html(title: str, command: str, sections: Sequence[ReportSection]) -> str:
    """Return the report as HTML text; everything that comes from outside is escaped.

    Args:
        title: heading.
        command: the command line that makes this report.
        sections: one per environment.
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
        scientific=_scientific,
        error=_error,
        numbers=_numbers,
        short=_short,
        signed=_signed,
    )
    tabular = [o for section in sections if section.problem for o in section.problem.outcomes]
    deep = [o for section in sections if section.training for o in section.training.outcomes]
    names = {o.job.agent: o.job.trains for o in deep}
    outcomes: list[AnyOutcome] = [*tabular, *deep]
    return environment.get_template("report.html.jinja").render(
        title=title,
        command=command,
        sections=sections,
        versions=_versions(outcomes),
        solvers=list(dict.fromkeys(outcome.job.agent for outcome in tabular)),
        deep_agents=[name for name, trains in names.items() if trains],
        controllers=[name for name, trains in names.items() if not trains],
        starts=list(dict.fromkeys(outcome.job.seed for outcome in tabular)),
        deep_seeds=list(dict.fromkeys(outcome.job.seed for outcome in deep)),
        evaluations=max((outcome.job.evaluations for outcome in tabular), default=0),
        timesteps=max((outcome.job.total_timesteps for outcome in deep), default=0),
        modes=MODES,
        failed=[outcome for outcome in outcomes if outcome.result is None],
        warned=[outcome for outcome in outcomes if outcome.result and outcome.result.warnings],
        settings=_settings(outcomes),
    )


def data_uri(path: Path) -> str:
    """Return the content of a PNG or SVG file as a data: address."""
    kind = {".png": "image/png", ".svg": "image/svg+xml"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _settings(outcomes: Sequence[AnyOutcome]) -> list[dict[str, Any]]:
    """Return the hyperparameters of every agent, one entry per distinct setting."""
    found: list[dict[str, Any]] = []
    for outcome in outcomes:
        agent, settings = outcome.job.agent, outcome.job.hyperparameters
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


def _signed(number: float) -> str:
    return f"{number:+.3g}".replace("-", "\N{MINUS SIGN}")


def _numbers(array: np.ndarray) -> str:
    return ", ".join(f"{number:.6g}" for number in array)
