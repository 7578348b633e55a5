"""The table of a study of constraint layers, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.box import MARKDOWN
from rich.markup import escape
from rich.table import Table

from baselines.experiments.layers.measures import LEVELS, Quality
from baselines.experiments.layers.training import TrainingResult
from baselines.report.terminal_table import name_columns, number_columns

HEADINGS = (
    "gap",
    "geometric",
    "largest",
    "relative",
    "violation",
    "largest violation",
    *(f"within {level:g}" for level in LEVELS),
    "solved",
    "raw violation",
    "rank",
    "ms / step",
    "CPU s",
    "test ms",
)

Rows = list[tuple[str, str, list[str]]]  # problem family, variant, numbers


def layers_table(
    question: str, results: Mapping[str, Sequence[TrainingResult]], with_problems: bool = True
) -> Table:
    """Return a row per family and variant: means over data instances and network seeds.

    "gap" is f(y) - f*, its mean over the test instances, then the geometric mean and the largest of
    all runs; "violation" is the mean and the largest over instances of an instance's worst row,
    "within" the share of instances whose worst row is within that. A variant that trained without
    a layer has a row for its outputs as they are, and one for the same after a single repair.
    "raw violation" is that of the network in front of the layer, "rank" the mean effective rank of
    the repair's Jacobian.

    Args:
        question: the title.
        results: by variant.
        with_problems: begin rows with the family and sizes.
    """
    table = Table(title=escape(question), box=MARKDOWN)
    name_columns(table, *(["problem"] if with_problems else []), "variant", "runs")
    number_columns(table, *HEADINGS)
    for problem, variant, cells in _rows(results):
        table.add_row(*([problem] if with_problems else []), escape(variant), *cells)
    return table


def _rows(results: Mapping[str, Sequence[TrainingResult]]) -> Rows:
    found: Rows = []
    problems = dict.fromkeys(_problem(one) for group in results.values() for one in group)
    for problem in problems:
        for variant, group in results.items():
            own = [one for one in group if _problem(one) == problem]
            if not own:
                continue
            if own[0].setting.layer == "soft":
                found.append((problem, variant, _cells(own, [one.raw for one in own], False)))
                variant = f"{variant}, one repair"
            found.append((problem, variant, _cells(own, [one.repaired for one in own], True)))
    return found


def _problem(one: TrainingResult) -> str:
    problem = one.setting.problem
    return f"{problem.family} {'/'.join(map(str, problem.sizes))}"


def _cells(
    runs: Sequence[TrainingResult], measured: Sequence[Quality], repaired: bool
) -> list[str]:
    gaps = np.array([one.gap_mean for one in measured])
    return [
        str(len(runs)),
        _with_error(gaps),
        _short(np.mean([one.gap_geometric for one in measured])),
        _short(max(one.gap_max for one in measured)),
        f"{np.mean([one.relative_gap for one in measured]):.2%}",
        _short(np.mean([one.violation_mean for one in measured])),
        _short(max(one.violation_max for one in measured)),
        *(f"{share:.0%}" for share in np.mean([one.feasible for one in measured], axis=0)),
        f"{np.mean([one.solved for one in measured]):.0%}",
        _short(np.mean([one.raw.violation_mean for one in runs])),
        f"{np.mean([one.rank for one in runs]):.2f}",
        f"{np.mean([one.milliseconds for one in runs]):.2f}",
        f"{np.mean([one.seconds for one in runs]):.0f}",
        f"{np.mean([one.test_milliseconds for one in runs]):.0f}" if repaired else "",
    ]


def _with_error(values: np.ndarray) -> str:
    if len(values) == 1:
        return _short(values[0])
    return f"{_short(values.mean())} +- {_short(values.std(ddof=1) / len(values) ** 0.5)}"


def _short(number: float | np.floating) -> str:
    value = float(number)
    return f"{value:.2g}" if abs(value) < 1.0 else f"{value:.2f}"
