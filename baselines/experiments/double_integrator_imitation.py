"""SCPO imitates an untrustworthy expert on the double integrator.

`python -m baselines.experiments.double_integrator_imitation --variant all` trains every method
with every seed, prints a table and draws the paper's figures 4 and 5. A second run with the same
folder runs only what is missing. Source: Cao and Borrelli, SCPO (arXiv 2512.13788), section VI-B.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from baselines.experiments.scpo.imitation_figures import draw_reachable_sets, draw_trajectories
from baselines.experiments.scpo.imitation_problem import (
    evaluation_samples,
    imitation_loss,
    reference_losses,
)
from baselines.experiments.scpo.imitation_results import (
    ImitationResult,
    run_and_save,
    saved_policy,
    saved_result,
)
from baselines.experiments.scpo.imitation_training import METHODS, ImitationRun, Method
from baselines.jobs.processes import run_in_processes
from baselines.report.terminal_table import number_columns, print_table
from baselines.shell_command import shell_command
from safe_envs.control.double_integrator_reference import safe_controller

ITERATIONS: dict[Method, int] = {
    "literal": 60,
    "literal-max": 60,
}  # all others: 120; these two stall long before
HEADINGS = (
    "seed",
    "steps",
    "loss",
    "largest g",
    "loss rises",
    "R_theta",
    "lost / gained",
    "fine",
    "g > 0 between",
    "null",
    "projected",
    "g measured",
    "rollout steps",
    "g steps, millions",
    "CPU seconds",
)


@dataclass(frozen=True)
class ImitationArguments:
    """Train policies that imitate the expert, print a table, and draw the first seed's."""

    variant: Literal[Method, "all"] = "all"
    """The paper's construction (a constraint per grid state, or with -max the largest of them), \
ours, or Adam without constraint (with the paper's policy, or -gated with ours)."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Random seeds of the networks and samples."""
    iterations: int | None = None
    """Training steps; 120, and 60 of the paper's construction, if not given."""
    grid: int = 50
    """Constraint states per axis; 50 in the paper."""
    expert_noise_std: float = 0.4
    """The paper's N(0, 0.4) read as a standard deviation; 0.632 reads it as a variance."""
    alpha_scale: float = 1.0
    """Factor of |x|^2 in the constraint; Theorem 2 requires less than 1, such as 0.99."""
    gate: bool = True
    """Ours: the residual fades out within |x| <= 0.5."""
    groups: int = 8
    """Ours: columns from parts of the samples; 0 for none."""
    bank_size: int = 16
    """Earlier parameters to combine steps from."""
    out: Path = Path("runs/double-integrator-imitation")
    """Folder of the results."""
    workers: int = 1
    """Worker processes, one thread each."""

    def runs(self) -> list[ImitationRun]:
        """Return what to run, in the order of the table."""
        methods = METHODS if self.variant == "all" else (self.variant,)
        return [
            ImitationRun(
                method=method,
                seed=seed,
                iterations=self.iterations_of(method),
                grid=self.grid,
                expert_noise_std=self.expert_noise_std,
                alpha_scale=self.alpha_scale,
                gated=self.gate,
                groups=self.groups,
                bank_size=self.bank_size,
            )
            for method in methods
            for seed in self.seeds
        ]

    def iterations_of(self, method: Method) -> int:
        """Return the training steps of a method."""
        return ITERATIONS.get(method, 120) if self.iterations is None else self.iterations


def main(arguments: ImitationArguments) -> int:
    """Run what is missing, print the table and draw the figures; 1 if a run failed."""
    console = Console(width=None if sys.stdout.isatty() else 230)
    runs = arguments.runs()
    failures = train_missing(runs, arguments, console)
    results = {run: saved_result(run, arguments.out) for run in runs}
    done = {run: result for run, result in results.items() if result is not None}
    if done:
        print_table(console, results_table(done))
        console.print(references(arguments.expert_noise_std))
        shown = next((run for run in done if run.method == "ours"), next(iter(done)))
        policy = saved_policy(shown, arguments.out)
        for draw, name in ((draw_trajectories, "trajectories"), (draw_reachable_sets, "sets")):
            file = arguments.out / f"{shown.name}-{name}.png"
            draw(policy, file)
            console.print(f"figure: {file}", soft_wrap=True)
    return 1 if failures else 0


def train_missing(runs: list[ImitationRun], arguments: ImitationArguments, console: Console) -> int:
    """Train and measure what has no result yet; return how many runs failed."""
    missing = [run for run in runs if saved_result(run, arguments.out) is None]
    work = [_Work(run, arguments.out) for run in missing]
    failures = 0
    for done, reason in run_in_processes(_run_work, work, arguments.workers):
        console.print(f"{done.run.name}: {reason or 'done'}", soft_wrap=True)
        failures += bool(reason)
    return failures


@dataclass(frozen=True)
class _Work:
    run: ImitationRun
    folder: Path


def _run_work(work: _Work) -> None:
    run_and_save(work.run, work.folder)


def results_table(results: dict[ImitationRun, ImitationResult]) -> Table:
    """Return the table of the finished runs, a row each, in Markdown."""
    table = Table(box=box.MARKDOWN)
    table.add_column("method", no_wrap=True)
    number_columns(table, *HEADINGS)
    for run, result in results.items():
        table.add_row(
            run.method,
            f"{run.seed}",
            f"{run.iterations}",
            f"{result.loss:.4f}",
            f"{result.largest_constraint:.2g}",
            f"{result.loss_increases}",
            f"{result.reachable}",
            f"{result.lost} / {result.gained}",
            f"{result.fine_lost} / {result.fine_gained}",
            f"{result.violated_between:.2%}",
            f"{result.null_steps}",
            f"{result.projected}",
            f"{result.evaluations}",
            f"{result.rollout_steps}",
            f"{result.constraint_steps / 1e6:.1f}",
            f"{result.cpu_seconds:.0f}",
        )
    return table


def references(expert_noise_std: float) -> str:
    """Return a line with the losses to compare with."""
    samples = evaluation_samples(expert_noise_std)
    bounds = reference_losses(samples, expert_noise_std)
    return (
        f"loss of the safe controller {imitation_loss(safe_controller, samples):.4f}, of "
        f"the best feasible actions {bounds.best_feasible:.4f}, "
        f"of the expert's mean {bounds.noise_floor:.4f}"
    )


if __name__ == "__main__":
    sys.exit(
        main(
            tyro.cli(
                ImitationArguments,
                prog=shell_command("baselines.experiments.double_integrator_imitation"),
            )
        )
    )
