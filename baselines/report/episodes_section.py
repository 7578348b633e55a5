"""What the report shows about policies evaluated in episodes on one environment."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.markup import escape
from rich.table import Table

from baselines.jobs.episodic_job import EpisodicOutcome, EpisodicResult
from baselines.jobs.job import job_folder
from baselines.measures.learning_curve import TIMESTEPS, LearningCurve, read_learning_curve
from baselines.names.environments import EnvironmentName
from baselines.report.episodes_summary import (
    MODES,
    EpisodesSummary,
    Mode,
    ModeSummary,
    episodes_of,
    summarize_episodic,
)
from baselines.report.learning_curve_plots import draw_learning_curves, draw_pareto
from safe_envs.tabular.model import TabularCMDP

EPISODE_VALUE = "rollout/ep_value_mean"  # the return with the declared discount
LONGEST_NAME = 10  # letters of an agent on one line of a table of 80 columns
CSV_COLUMNS = (
    "env",
    "agent",
    "seed",
    "status",
    "mode",
    "episodes",
    "mean_return",
    "mean_costs",
    "limits",
    "violations",
    "violation",
    "feasible",
    "mean_plain_return",
    "mean_plain_costs",
    "mean_length",
    "exact_value",
    "exact_violation",
    "timesteps",
    "cpu_seconds",
    "steps_per_cpu_second",
    "warnings",
    "error",
)


@dataclass(frozen=True)
class EpisodesSection:
    """Plots and summaries of the deep agents and controllers on one environment."""

    name: str
    rows: Sequence[EpisodesSummary]
    outcomes: Sequence[EpisodicOutcome]
    constraint_names: Sequence[str]
    limits: Sequence[float]
    reward_discount: float
    cost_discounts: Sequence[float]
    episodes: int  # of either evaluation
    curves: Path | None  # SVG file; None if there is nothing to draw
    pareto: Sequence[Path]  # one per constraint
    notes: Sequence[str]  # what is missing in the plots

    template: ClassVar[str] = "episodes.html.jinja"

    @property
    def heading(self) -> str:
        """What kinds of agents there are."""
        trained = {outcome.job.total_timesteps > 0 for outcome in self.outcomes}
        if len(trained) == 2:
            return "Deep agents and controllers"
        return "Deep agents" if True in trained else "Controllers"

    @property
    def has_exact(self) -> bool:
        """Whether there are values by a tabular model."""
        return any(row.stochastic and row.stochastic.exact_value is not None for row in self.rows)

    def tables(self) -> list[Table]:
        """Return a table of the agents per mode for the terminal, each fitting 80 columns."""
        return [_mode_table(self, mode) for mode in MODES]


def episodes_section(
    out: Path, env: EnvironmentName, cmdp: TabularCMDP | None, outcomes: Sequence[EpisodicOutcome]
) -> EpisodesSection | None:
    """Draw the plots and return the section; None without outcomes.

    Args:
        out: folder of the comparison.
        env: the environment.
        cmdp: its tabular model, not used here.
        outcomes: of the deep agents and controllers on it, failed ones included.
    """
    if not outcomes:
        return None
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    first = results[0] if results else None
    stem = out / "plots" / env.slug
    notes: list[str] = []
    return EpisodesSection(
        name=str(env),
        rows=summarize_episodic(outcomes),
        outcomes=outcomes,
        constraint_names=first.constraint_names if first else [],
        limits=first.limits if first else [],
        reward_discount=first.reward_discount if first else 1.0,
        cost_discounts=first.cost_discounts if first else [],
        episodes=outcomes[0].job.evaluation_episodes,
        curves=_draw_curves(out, env, outcomes, stem, notes),
        pareto=_draw_pareto(env, results, stem),
        notes=notes,
    )


def evaluation_table(result: EpisodicResult) -> Table:
    """Return the evaluation of one run, a row per mode and constraint."""
    title = f"{escape(result.agent)} on {escape(result.env)}, seed {result.seed}"
    table = Table(title=title, title_justify="left")
    table.add_column("policy", no_wrap=True)
    for column in ("return", "cost", "limit", "violation", "P90", "worst", "length"):
        table.add_column(column, justify="right", no_wrap=True)
    for mode in MODES:
        episodes = episodes_of(result, mode)
        for i, (name, limit) in enumerate(zip(result.constraint_names, result.limits, strict=True)):
            table.add_row(
                mode if len(result.limits) == 1 else f"{mode}, {escape(name)}",
                f"{episodes.mean_return:.4g}",
                f"{episodes.mean_costs[i]:.4g}",
                f"{limit:g}",
                _colored(episodes.violation[i]),
                f"{episodes.cost_tails[i].p90:.4g}",
                f"{episodes.cost_tails[i].worst:.4g}",
                f"{episodes.mean_length:.1f}",
            )
    return table


def episodes_csv(outcomes: Sequence[EpisodicOutcome]) -> str:
    """Return two CSV rows per finished run, one per mode, and one per failed run."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        writer.writerows(_csv_rows(outcome))
    return buffer.getvalue()


def run_curve(folder: Path, result: EpisodicResult) -> LearningCurve:
    """Return the learning curve of a run, all sums with the declared discounts.

    Raises:
        ValueError: if no episode ended during training, or the file is damaged.
    """
    file = folder / "progress.csv"
    curve = read_learning_curve(file, result.agent, result.seed, result.constraint_names)
    if result.reward_discount == 1.0:
        return curve
    with file.open(newline="", encoding="utf-8") as rows:
        values = {
            float(row[TIMESTEPS]): float(row[EPISODE_VALUE])
            for row in csv.DictReader(rows)
            if row[TIMESTEPS] and row.get(EPISODE_VALUE)
        }
    missing = [t for t in curve.timesteps if t not in values]
    if missing:
        raise ValueError(f"{file} has no {EPISODE_VALUE} at timestep {missing[0]:g}")
    return replace(curve, episode_return=np.array([values[t] for t in curve.timesteps]))


def _draw_curves(
    out: Path,
    env: EnvironmentName,
    outcomes: Sequence[EpisodicOutcome],
    stem: Path,
    notes: list[str],
) -> Path | None:
    curves: list[LearningCurve] = []
    trained = [o for o in outcomes if o.job.total_timesteps > 0]
    results = [(job_folder(out, o.job), o.result) for o in trained if o.result is not None]
    for folder, result in results:
        try:
            curves.append(run_curve(folder, result))
        except (ValueError, OSError, csv.Error) as error:
            notes.append(f"no learning curve of {result.agent}, seed {result.seed}: {error}")
    if not curves:
        return None
    path = stem.with_name(f"{stem.name}_curves")
    names, limits = results[0][1].constraint_names, results[0][1].limits
    try:
        draw_learning_curves(f"{env}: training", curves, limits, path, names)
    except ValueError as error:
        notes.append(f"no learning curves: {error}")
        return None
    return path.with_name(f"{path.name}.svg")


def _draw_pareto(env: EnvironmentName, results: Sequence[EpisodicResult], stem: Path) -> list[Path]:
    """Draw return against cost of the final stochastic policies, one plot per constraint."""
    paths = []
    for i, name in enumerate(results[0].constraint_names if results else ()):
        points = {
            agent: np.array(
                [
                    (r.stochastic.mean_costs[i], r.stochastic.mean_return)
                    for r in results
                    if r.agent == agent
                ]
            )
            for agent in dict.fromkeys(result.agent for result in results)
        }
        several = len(results[0].limits) > 1
        path = stem.with_name(f"{stem.name}_pareto" + (f"_{i}" if several else ""))
        label = f"cost: {name}" if several else "cost"
        draw_pareto(f"{env}: final policies", points, results[0].limits[i], path, label)
        paths.append(path.with_name(f"{path.name}.svg"))
    return paths


def _mode_table(section: EpisodesSection, mode: Mode) -> Table:
    limits = ", ".join(f"{limit:g}" for limit in section.limits)
    title = f"{escape(section.name)}  ({mode} policy, limit {limits or 'unknown'})"
    table = Table(title=title, title_justify="left")
    table.add_column("agent", no_wrap=True)
    columns = ["IQM\nreturn", "mean\ncost", "violation", "seeds\nwithin"]
    columns += ["exact\nvalue", "exact\nviolation"] if section.has_exact else ["P95", "steps/s"]
    columns += ["length"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in section.rows:
        failed = f"\n[red]{len(row.failures)} of {row.seeds} failed[/]" if row.failures else ""
        summary = row.mode(mode)
        cells = ["-"] * len(columns) if summary is None else _cells(row, summary)
        table.add_row(escape(_folded(row.agent)) + failed, *cells)
    return table


def _folded(agent: str) -> str:
    """Return a name with a line per word if it would leave the numbers too little room."""
    if len(agent) <= LONGEST_NAME:
        return agent
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "\n", agent)


def _cells(row: EpisodesSummary, summary: ModeSummary) -> list[str]:
    cells = [
        f"[bold]{summary.iqm_return:.4g}[/]",
        f"{summary.mean_cost:.4g}",
        _colored(summary.violation),
        f"{round(summary.feasibility_rate * row.finished)} of {row.seeds}",
    ]
    if summary.exact_value is not None and summary.exact_violation is not None:
        cells += [f"{summary.exact_value:.4f}", _colored(summary.exact_violation)]
    else:
        speed = row.steps_per_cpu_second  # 0 without training
        cells += [f"{summary.episode_tails.p95:.4g}", f"{speed:.0f}" if speed else "-"]
    return [*cells, f"{summary.length:.1f}"]


def _colored(violation: float) -> str:
    return f"[{'red' if violation > 0 else 'green'}]{violation:+.3g}[/]"


def _csv_rows(outcome: EpisodicOutcome) -> list[dict[str, object]]:
    job, result = outcome.job, outcome.result
    row: dict[str, object] = {"env": str(job.env), "agent": job.agent, "seed": job.seed}
    if result is None:
        return [{**row, "status": "failed", "error": outcome.reason}]
    row |= {
        "status": "done",
        "limits": _joined(result.limits),
        "timesteps": result.timesteps,
        "cpu_seconds": result.cpu_seconds,
        "steps_per_cpu_second": result.steps_per_cpu_second,
        "warnings": len(result.warnings),
    }
    return [{**row, **_measured(result, mode)} for mode in MODES]


def _measured(result: EpisodicResult, mode: Mode) -> dict[str, object]:
    episodes = episodes_of(result, mode)
    exact = episodes.exact
    return {
        "mode": mode,
        "episodes": episodes.episodes,
        "mean_return": episodes.mean_return,
        "mean_costs": _joined(episodes.mean_costs),
        "violations": _joined(episodes.violation),
        "violation": max(episodes.violation),
        "feasible": episodes.feasible,
        "mean_plain_return": episodes.mean_plain_return,
        "mean_plain_costs": _joined(episodes.mean_plain_costs),
        "mean_length": episodes.mean_length,
        "exact_value": "" if exact is None else exact.value,
        "exact_violation": "" if exact is None else max(exact.violation),
    }


def _joined(numbers: Sequence[float]) -> str:
    return ";".join(str(number) for number in numbers)
