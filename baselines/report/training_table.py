"""Training runs as tables: one run, a comparison on the terminal, and rows for a CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from baselines.jobs.training_job import TrainingOutcome, TrainingResult
from baselines.report.sections import TrainingSection
from baselines.report.training_summary import (
    MODES,
    Mode,
    ModeSummary,
    TrainingSummary,
    episodes_of,
)

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


def evaluation_table(result: TrainingResult) -> Table:
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
                _coloured(episodes.violation[i]),
                f"{episodes.cost_tails[i].p90:.4g}",
                f"{episodes.cost_tails[i].worst:.4g}",
                f"{episodes.mean_length:.1f}",
            )
    return table


def training_tables(section: TrainingSection) -> list[Table]:
    """Return a table of the agents per mode, each fitting 80 columns."""
    return [_mode_table(section, mode) for mode in MODES]


def training_csv(outcomes: Sequence[TrainingOutcome]) -> str:
    """Return two CSV rows per finished run, one per mode, and one per failed run."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        writer.writerows(_csv_rows(outcome))
    return buffer.getvalue()


def _mode_table(section: TrainingSection, mode: Mode) -> Table:
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


def _cells(row: TrainingSummary, summary: ModeSummary) -> list[str]:
    cells = [
        f"[bold]{summary.iqm_return:.4g}[/]",
        f"{summary.mean_cost:.4g}",
        _coloured(summary.violation),
        f"{round(summary.feasibility_rate * row.finished)} of {row.seeds}",
    ]
    if summary.exact_value is not None and summary.exact_violation is not None:
        cells += [f"{summary.exact_value:.4f}", _coloured(summary.exact_violation)]
    else:
        speed = row.steps_per_cpu_second  # 0 without training
        cells += [f"{summary.episode_tails.p95:.4g}", f"{speed:.0f}" if speed else "-"]
    return [*cells, f"{summary.length:.1f}"]


def _coloured(violation: float) -> str:
    return f"[{'red' if violation > 0 else 'green'}]{violation:+.3g}[/]"


def _csv_rows(outcome: TrainingOutcome) -> list[dict[str, object]]:
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


def _measured(result: TrainingResult, mode: Mode) -> dict[str, object]:
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
