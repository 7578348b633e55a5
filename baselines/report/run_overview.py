"""What a run measured, in a table and in the columns of a list of jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from baselines.jobs.episodic_job import EpisodicResult
from baselines.jobs.job import SectionName
from baselines.jobs.solver_job import SolverResult
from baselines.report.episodes_section import evaluation_table, sums_in_words
from baselines.report.terminal_table import number_columns

CELLS = ("return", "cost", "limit", "length", "values")


class Overview(NamedTuple):
    """How the results of one kind of job are shown."""

    table: Callable[[Any], Table]
    cells: Callable[[Any], tuple[str, str, str, str, str]]  # `CELLS`
    sums: Callable[[Any], str]  # how returns and costs are summed
    notes: Callable[[Any], list[str]]  # that a reader of the numbers has to know


def _solver_table(result: SolverResult) -> Table:
    table = Table(title="exact values of the last policy", title_justify="left")
    columns = ("constraint", "value", "optimum", "cost", "limit", "violation", "multiplier")
    number_columns(table, *columns)
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


def _solver_cells(result: SolverResult) -> tuple[str, str, str, str, str]:
    return f"{result.value:.5g}", _joined(result.costs), _joined(_limits(result)), "-", "exact"


def _episodes_cells(result: EpisodicResult) -> tuple[str, str, str, str, str]:
    """Return the exact values where there are any; the length is that of sampled episodes."""
    claim, length = result.stochastic.claim, f"{result.stochastic.mean_length:.1f}"
    kind = "exact" if claim.is_exact else "sampled"
    return f"{claim.value:.5g}", _joined(claim.costs), _joined(result.limits), length, kind


def _solver_sums(result: SolverResult) -> str:
    return "sums of solvers: with the discounts of the tabular model"


def _episodes_sums(result: EpisodicResult) -> str:
    return sums_in_words(result.reward_discount, result.cost_discounts)


def _episodes_notes(result: EpisodicResult) -> list[str]:
    steps = ", ".join(f"{step:,}" for step in result.restarted_at)
    restarts = [f"resumed with new episodes at step {steps}"] if steps else []
    repairs = result.stochastic.repairs
    repaired = [] if repairs is None else [str(repairs)]
    return [*restarts, *repaired, *result.warnings]


def _solver_notes(result: SolverResult) -> list[str]:
    return result.warnings


OVERVIEWS: dict[SectionName, Overview] = {
    "solvers": Overview(_solver_table, _solver_cells, _solver_sums, _solver_notes),
    "episodes": Overview(evaluation_table, _episodes_cells, _episodes_sums, _episodes_notes),
}


def _limits(result: SolverResult) -> list[float]:
    return [cost - over for cost, over in zip(result.costs, result.violation, strict=True)]


def _joined(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
