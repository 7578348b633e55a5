"""What the report shows about an environment with a known model and its tabular solvers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.table import Table

from agents.tabular.linear_program import Optimum, linear_program
from baselines.jobs.job import job_folder
from baselines.jobs.solver_job import SolverOutcome, SolverResult, read_trace
from baselines.names.environments import EnvironmentName
from baselines.report.plots import draw_convergence
from baselines.report.printable import plain
from baselines.report.result_lines import KnownOptimum, ResultLine
from baselines.report.svg_panels import panel_svgs
from baselines.report.terminal_table import name_columns, number_columns
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP

CSV_COLUMNS = (
    "env",
    "agent",
    "seed",
    "status",
    "value",
    "optimal_value",
    "gap",
    "violation",
    "violations",
    "tail_error",
    "evaluations",
    "cpu_seconds",
    "warnings",
    "error",
)


@dataclass(frozen=True)
class AgentSummary:
    """An agent on one environment; each pair is (median, worst) over its finished seeds."""

    agent: str
    seeds: int
    failures: tuple[str, ...]  # one reason per failed seed
    value: float  # median
    gap: tuple[float, float]  # worst = the largest in absolute value
    violation: tuple[float, float]  # the constraint violated most
    tail_error: tuple[float, float]
    cpu_seconds: tuple[float, float]

    @property
    def finished(self) -> int:
        """Number of seeds with a result."""
        return self.seeds - len(self.failures)


@dataclass(frozen=True)
class SolverSection:
    """What the report shows about an environment with a known model, and its tabular solvers."""

    name: str
    cmdp: TabularCMDP
    uniform: PolicyEvaluation  # of the uniform policy
    optimum: Optimum | None
    no_optimum: str  # why there is none
    panels: Sequence[str]  # of the plot, SVG text; none if no job finished
    rows: Sequence[AgentSummary]
    outcomes: Sequence[SolverOutcome]

    template: ClassVar[str] = "solvers.html.jinja"

    @property
    def known_optimum(self) -> KnownOptimum | None:
        """That of the linear program."""
        if self.optimum is None:
            return None
        limits = tuple(self.cmdp.limits.tolist())
        return KnownOptimum(self.optimum.value, limits, self.cmdp.discount)

    def results(self) -> list[ResultLine]:
        """Return a line per solver."""
        return [self._result(row) for row in self.rows]

    def tables(self) -> list[Table]:
        """Return the table for the terminal, if a solver ran."""
        value = self.optimum.value if self.optimum else None
        return [terminal_table(self.name, value, self.rows)] if self.rows else []

    def _result(self, row: AgentSummary) -> ResultLine:
        results = [o.result for o in self.outcomes if o.job.agent == row.agent]
        return ResultLine(
            agent=row.agent,
            value=row.value,
            margins=tuple(max(result.violation) for result in results if result is not None),
            runs=row.seeds,
            limits=tuple(self.cmdp.limits.tolist()),
            discount=self.cmdp.discount,
            is_exact=True,
            run_name="start",
        )


def solver_section(
    out: Path,
    env: EnvironmentName,
    cmdp: TabularCMDP | None,
    outcomes: Sequence[SolverOutcome],
    everywhere: Sequence[SolverOutcome],
) -> SolverSection | None:
    """Draw the plot and return the section; None if the environment has no known model.

    Args:
        out: folder of the comparison.
        env: the environment.
        cmdp: its tabular model.
        outcomes: of the tabular solvers on it, failed ones included; may be empty.
        everywhere: those on all environments, not used here.
    """
    if cmdp is None:
        return None
    optimum, reason = _optimum(cmdp)
    finished = [outcome for outcome in outcomes if outcome.result is not None]
    traces = {
        agent: [read_trace(job_folder(out, o.job)) for o in finished if o.job.agent == agent]
        for agent in dict.fromkeys(outcome.job.agent for outcome in finished)
    }
    stem = out / "plots" / env.slug
    panels: list[str] = []
    if optimum is not None and traces:
        panels = panel_svgs(draw_convergence(str(env), traces, optimum.value, stem))
    return SolverSection(
        name=str(env),
        cmdp=cmdp,
        uniform=cmdp.evaluate(cmdp.uniform_policy()),
        optimum=optimum,
        no_optimum=reason,
        panels=panels,
        rows=summarize_solvers(outcomes),
        outcomes=outcomes,
    )


def summarize_solvers(outcomes: Sequence[SolverOutcome]) -> list[AgentSummary]:
    """Return one summary per agent of the outcomes on one environment, best tail error first.

    An agent with a failed seed comes after all agents without, so that losing its worst seeds
    cannot improve its rank.
    """
    agents = dict.fromkeys(outcome.job.agent for outcome in outcomes)
    rows = [_summary(agent, [o for o in outcomes if o.job.agent == agent]) for agent in agents]
    return sorted(rows, key=lambda row: (len(row.failures) > 0, row.tail_error))


def terminal_table(env: str, optimal_value: float | None, rows: Sequence[AgentSummary]) -> Table:
    """Return the summaries as a table that fits 80 columns."""
    optimum = "no optimum" if optimal_value is None else f"LP optimum {optimal_value:.6f}"
    table = Table(title=f"{plain(env)}  ({optimum})", title_justify="left")
    name_columns(table, "agent")
    number_columns(table, "value", "gap", "violation", "TAIL", "worst TAIL", "cpu s")
    for row in rows:
        failed = f"\n[red]{len(row.failures)} of {row.seeds} failed[/]" if row.failures else ""
        if not row.finished:
            table.add_row(plain(row.agent) + failed, *["-"] * 6)
            continue
        table.add_row(
            plain(row.agent) + failed,
            f"{row.value:.4f}",
            f"{row.gap[0]:+.1e}",
            f"{row.violation[0]:+.1e}",
            f"[bold]{row.tail_error[0]:.1e}[/]",
            f"{row.tail_error[1]:.1e}",
            f"{row.cpu_seconds[0]:.2f}",
        )
    return table


def solver_csv(outcomes: Sequence[SolverOutcome]) -> str:
    """Return one CSV row per job, failed ones included."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_row(outcome) for outcome in outcomes)
    return buffer.getvalue()


def _summary(agent: str, outcomes: Sequence[SolverOutcome]) -> AgentSummary:
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    gaps = np.array([result.gap for result in results])
    worst_gap = float(gaps[np.abs(gaps).argmax()]) if results else float("nan")
    return AgentSummary(
        agent=agent,
        seeds=len(outcomes),
        failures=tuple(outcome.reason for outcome in outcomes if outcome.result is None),
        value=_median_and_worst([result.value for result in results])[0],
        gap=(_median_and_worst(gaps)[0], worst_gap),
        violation=_median_and_worst([max(result.violation) for result in results]),
        tail_error=_median_and_worst([result.tail_error for result in results]),
        cpu_seconds=_median_and_worst([result.cpu_seconds for result in results]),
    )


def _median_and_worst(numbers: Sequence[float] | np.ndarray) -> tuple[float, float]:
    if len(numbers) == 0:
        return float("nan"), float("nan")
    return float(np.median(numbers)), float(np.max(numbers))


def _csv_row(outcome: SolverOutcome) -> dict[str, object]:
    job = outcome.job
    row: dict[str, object] = {"env": str(job.env), "agent": job.agent, "seed": job.seed}
    if outcome.result is None:
        return {**row, "status": "failed", "error": outcome.reason}
    return {**row, "status": "done", **_measured(outcome.result)}


def _measured(result: SolverResult) -> dict[str, object]:
    return {
        "value": result.value,
        "optimal_value": result.optimum["value"],
        "gap": result.gap,
        "violation": max(result.violation),
        "violations": ";".join(str(violation) for violation in result.violation),
        "tail_error": result.tail_error,
        "evaluations": result.evaluations,
        "cpu_seconds": result.cpu_seconds,
        "warnings": len(result.warnings),
    }


def _optimum(cmdp: TabularCMDP) -> tuple[Optimum | None, str]:
    try:
        return linear_program(cmdp), ""
    except ValueError as error:
        return None, str(error)
