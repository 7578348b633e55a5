"""The command `compare`: every agent on every environment from every seed, and a report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from baselines.commands.comparison_plan import CompareOptions, Plan, plan
from baselines.jobs.job import Job
from baselines.jobs.processes import run_in_processes
from baselines.jobs.run_folder import is_done, write_error
from baselines.jobs.run_job import run_job
from baselines.jobs.training_job import TrainingJob
from baselines.report.outputs import AnyOutcome, read_any_outcome, write_outputs

__all__ = ["CompareOptions", "Comparison", "compare", "run_comparison"]


@dataclass(frozen=True)
class Comparison:
    """Where a comparison's files go and how it is run."""

    out: Path
    workers: int
    title: str
    command: str  # the shell command that makes it


def compare(options: CompareOptions, console: Console) -> int:
    """Run what is missing, write the results, plots and report.html, and print the tables.

    Returns:
        The exit code: 0, 1 if a job failed, 130 if interrupted.

    Raises:
        ValueError: for an unknown name or setting, before any job starts.
    """
    how = Comparison(options.out, options.workers, options.title, options.command())
    return run_comparison(plan(options), how, console)


def run_comparison(planned: Plan, how: Comparison, console: Console) -> int:
    """Run the missing jobs of a plan, as `compare` does."""
    jobs = planned.jobs
    missing = [job for job in jobs if not is_done(job.folder(how.out), job)]
    try:
        _run(missing, how, console)
    except KeyboardInterrupt:
        console.print(
            f"[yellow]interrupted[/]; finished jobs are kept in {escape(str(how.out))}. "
            "The same command does the rest:",
        )
        console.print(escape(how.command), soft_wrap=True)
        return 130
    outcomes = [read_any_outcome(job.folder(how.out), job) for job in jobs]
    write_outputs(how.out, how.title, how.command, planned.models, outcomes, console)
    console.print(f"{len(jobs)} jobs: ran {len(missing)}, kept {len(jobs) - len(missing)}")
    failed = [outcome for outcome in outcomes if outcome.result is None]
    _tell_failures(failed, console)
    console.print(f"report: {escape(str(how.out / 'report.html'))}", soft_wrap=True)
    return 1 if failed else 0


def _tell_failures(failed: Sequence[AnyOutcome], console: Console) -> None:
    for outcome in failed:
        job = outcome.job
        console.print(
            f"[red]failed[/] {escape(f'{job.agent} on {job.env}, seed {job.seed}')}: "
            f"{escape(outcome.reason)}",
            soft_wrap=True,
        )


def _run(missing: Sequence[Job | TrainingJob], how: Comparison, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("jobs", total=len(missing))
        work = [_Work(job, how.out, how.command) for job in missing]
        for done, reason in run_in_processes(_run_work, work, how.workers):
            if reason:
                with contextlib.suppress(OSError):  # a full disk: the report says so as well
                    write_error(done.job.folder(how.out), reason)
            progress.advance(task)


@dataclass(frozen=True)
class _Work:
    job: Job | TrainingJob
    out: Path
    command: str


def _run_work(work: _Work) -> None:
    if isinstance(work.job, Job):
        run_job(work.job, work.out)
    elif work.job.trains:
        from baselines.jobs.training_run import run_training  # PyTorch, which solvers do without

        run_training(work.job, work.job.folder(work.out), work.command)
    else:
        from baselines.jobs.controller_run import run_controller

        run_controller(work.job, work.job.folder(work.out), work.command)
