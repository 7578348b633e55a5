"""What a run measured, in a table and in the columns of a list of jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from baselines.jobs.episodic_job import EpisodicResult
from baselines.jobs.job import SectionName
from baselines.jobs.solver_job import SolverResult
from baselines.report.episodes_section import evaluation_table


class Overview(NamedTuple):
    """How the results of one kind of job are shown."""

    table: Callable[[Any], Table]
    cells: Callable[[Any], tuple[str, str, str, str]]  # return, costs, limits, length
    notes: Callable[[Any], list[str]]  # that a reader of the numbers has to know


def _solver_table(result: SolverResult) -> Table:
    table = Table(title="exact values of the last policy", title_justify="left")
    for column in ("constraint", "value", "optimum", "cost", "limit", "violation", "multiplier"):
        table.add_column(column, justify="right", no_wrap=True)
    limits = _limits(result)
    for i, violation in enumerate(result.violation):
        color = "red" if violation > 0 else "green"
        table.add_row(
            str(i + 1),
            f"{result.value:.6g}",
            f"{result.optimum['value']:.6g}",
            f"{result.costs[i]:.6g}",
            f"{limits[i]:.6g}",
            f"[{color}]{violation:+.3g}[/]",
            f"{result.multipliers[i]:.6g}",
        )
    return table


def _solver_cells(result: SolverResult) -> tuple[str, str, str, str]:
    return f"{result.value:.5g}", _joined(result.costs), _joined(_limits(result)), "-"


def _episodes_cells(result: EpisodicResult) -> tuple[str, str, str, str]:
    seen = result.stochastic
    costs, limits = _joined(seen.mean_costs), _joined(result.limits)
    return f"{seen.mean_return:.5g}", costs, limits, f"{seen.mean_length:.1f}"


def _episodes_notes(result: EpisodicResult) -> list[str]:
    steps = ", ".join(f"{step:,}" for step in result.restarted_at)
    restarts = [f"resumed with new episodes at step {steps}"] if steps else []
    return [*restarts, *result.warnings]


def _solver_notes(result: SolverResult) -> list[str]:
    return result.warnings


OVERVIEWS: dict[SectionName, Overview] = {
    "solvers": Overview(_solver_table, _solver_cells, _solver_notes),
    "episodes": Overview(evaluation_table, _episodes_cells, _episodes_notes),
}


def _limits(result: SolverResult) -> list[float]:
    return [cost - over for cost, over in zip(result.costs, result.violation, strict=True)]


def _joined(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
