"""Regression within a band: SCPO, a soft penalty and no constraint at all.

    python -m baselines.experiments.constrained_regression --variant all --seeds 0 1 2 3 4

Learn f(x) = sin x + sin 3x + sin 7x from 64 fresh x ~ N(0, 1) per iteration, with |y| <= 1.4 on a
grid over [-3, 3], starting from y = 0. Source: Cao and Borrelli, SCPO (arXiv 2512.13788), section
VI-A and figures 2 and 3. All reported values are measured with a second network, which receives the
learner's parameters after every iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console

from baselines.experiments.scpo.regression_reports import draw_curves, draw_traces, results_table
from baselines.experiments.scpo.regression_training import (
    ITERATIONS,
    Method,
    RegressionSetting,
    finished_runs,
)
from baselines.shell_command import shell_command
from safe_envs.control.constrained_regression import optimal_loss


@dataclass(frozen=True)
class RegressionArguments:
    """Learn the regression of SCPO's section VI-A, print a table and draw figures 2 and 3."""

    variant: Literal["literal", "ours", "all"] = "all"
    """The algorithm as printed, this project's, or both."""
    seeds: tuple[int, ...] = (0,)
    """Random seeds of the initial weights and the samples."""
    iterations: int | None = None
    """Minibatches; 800 for the literal variant and 600 for all others if left out."""
    grid: int = 64
    """Points on [-3, 3] at which the constraint is measured."""
    margin: float = 0.0
    """Narrows the band where the constraint is measured."""
    groups: int = 8
    """Our variant: parts of a minibatch, each with its own column; 0 for none."""
    momentum: bool = True
    """Whether our variant's Adam has momentum."""
    baselines: bool = True
    """Whether to run the soft penalty and the unconstrained learner as well."""
    out: Path = Path("runs/constrained_regression")
    """Folder of the figures and of one JSON file per run; finished runs are not repeated."""
    workers: int = 1
    """Processes."""


def main(arguments: RegressionArguments) -> None:
    """Run what is missing, print the table and draw the figures."""
    variants: list[Method] = ["literal", "ours"]
    methods = [name for name in variants if arguments.variant in ("all", name)]
    methods += ["soft", "unconstrained"] if arguments.baselines else []
    settings = [
        RegressionSetting(
            method,
            seed,
            arguments.iterations or ITERATIONS[method],
            arguments.grid,
            arguments.margin,
            groups=arguments.groups,
            momentum=arguments.momentum,
        )
        for method in methods
        for seed in arguments.seeds
    ]
    runs = finished_runs(settings, arguments.out, arguments.workers)
    title = f"Regression within a band, in which the least loss is {optimal_loss():.5f}"
    Console(width=220).print(results_table(title, runs))
    draw_curves(runs, arguments.out / "learnt_curve.png")
    draw_traces(runs, arguments.out / "loss_and_violation.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(
        tyro.cli(
            RegressionArguments, prog=shell_command("baselines.experiments.constrained_regression")
        )
    )
