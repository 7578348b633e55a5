"""How SCPO's settings affect the regression within a band.

    python -m baselines.experiments.scpo_ablations --variant ours

One setting at a time is changed: the size of the bank, the points at which the constraint is
measured, and how smooth it is. The constraint as its worst point alone has kinks; the share of
points beyond 1.3 jumps, which no smoothness constant covers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console

from baselines.experiments.scpo.regression_reports import results_table
from baselines.experiments.scpo.regression_training import (
    ITERATIONS,
    ConstraintForm,
    RegressionSetting,
    finished_runs,
)
from baselines.shell_command import shell_command

FORMS: tuple[ConstraintForm, ...] = ("each", "max", "count")


@dataclass(frozen=True)
class AblationArguments:
    """Print a table for each setting that is varied."""

    variant: Literal["literal", "ours"] = "ours"
    """The algorithm as printed, or this project's."""
    seeds: tuple[int, ...] = (0,)
    """Random seeds of the initial weights and the samples."""
    iterations: int | None = None
    """Minibatches; 800 for the literal variant and 600 for ours if left out."""
    bank_sizes: tuple[int, ...] = (4, 8, 16, 64)
    """Measured parameters to keep, m."""
    grids: tuple[int, ...] = (20, 50, 64, 100)
    """Points on [-3, 3]; the paper has 64."""
    out: Path = Path("runs/scpo_ablations")
    """Folder of one JSON file per run; finished runs are not repeated."""
    workers: int = 1
    """Processes."""


def ablations(arguments: AblationArguments) -> dict[str, list[RegressionSetting]]:
    """Return the settings to compare by the title of their table."""
    iterations = arguments.iterations or ITERATIONS[arguments.variant]
    usual = [RegressionSetting(arguments.variant, seed, iterations) for seed in arguments.seeds]
    return {
        "Measured parameters to keep (default 16)": [
            replace(each, bank_size=size) for size in arguments.bank_sizes for each in usual
        ],
        "Points of the grid (default 64)": [
            replace(each, grid=points) for points in arguments.grids for each in usual
        ],
        "A constraint per point, the worst point, or a share of points and the worst": [
            replace(each, form=form) for form in FORMS for each in usual
        ],
    }


def main(arguments: AblationArguments) -> None:
    """Run what is missing and print the tables."""
    console = Console(width=220)
    for title, settings in ablations(arguments).items():
        runs = finished_runs(settings, arguments.out, arguments.workers)
        console.print(results_table(title, runs))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(AblationArguments, prog=shell_command("baselines.experiments.scpo_ablations")))
