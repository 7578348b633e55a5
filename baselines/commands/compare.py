"""The command `compare`: every agent on every environment from every seed, and a report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from baselines.commands.comparison_plan import CompareOptions, Plan, plan
from baselines.jobs.job import AnyOutcome, Job, job_folder
from baselines.jobs.processes import run_in_processes
from baselines.jobs.run_folder import is_done, run_job, write_error
from baselines.report.outputs import write_outputs

__all__ = [
    "CompareOptions",
    "Comparison",
    "FinishedJob",
    "compare",
    "finished_jobs",
    "run_comparison",
]


@dataclass(frozen=True)
class Comparison:
    """Where a comparison's files go, and how it is run."""

    out: Path
    workers: int
    title: str
    command: str  # the shell command that makes it


def compare(options: CompareOptions, console: Console) -> int:
    """Run the missing jobs, write the results, plots and report.html, and print the tables.

    Returns:
        The exit code: 0, 1 if a job failed, 130 if interrupted.

    Raises:
        ValueError: for an unknown name or setting, before any job starts.
    """
    how = Comparison(options.out, options.workers, options.title, options.command())
    return run_comparison(plan(options), how, console)


class FinishedJob(NamedTuple):
    """A job that did not fail."""

    job: Job
    result: Any  # what jobs of that kind measure: a `SolverResult`, an `EpisodicResult`
    folder: Path  # of its files


def finished_jobs(options: CompareOptions, console: Console) -> list[FinishedJob]:
    """Run the missing jobs, as `compare` does, and return the jobs that did not fail."""
    planned = plan(options)
    how = Comparison(options.out, options.workers, options.title, options.command())
    run_comparison(planned, how, console)
    finished = []
    for job in planned.jobs:
        folder = job_folder(options.out, job)
        result = job.outcome(folder).result
        if result is not None:
            finished.append(FinishedJob(job, result, folder))
    return finished


def run_comparison(planned: Plan, how: Comparison, console: Console) -> int:
    """Run the missing jobs of a plan, as `compare` does."""
    jobs = planned.jobs
    missing = [job for job in jobs if not is_done(job_folder(how.out, job), job)]
    try:
        _run(missing, how, console)
    except KeyboardInterrupt:
        console.print(
            f"[yellow]interrupted[/]; finished jobs are kept in {escape(str(how.out))}. "
            "The same command runs the rest:",
        )
        console.print(escape(how.command), soft_wrap=True)
        return 130
    outcomes = [job.outcome(job_folder(how.out, job)) for job in jobs]
    write_outputs(how.out, how.title, how.command, planned.models, outcomes, console)
    console.print(f"{len(jobs)} jobs: ran {len(missing)}, kept {len(jobs) - len(missing)}")
    failed = [outcome for outcome in outcomes if outcome.result is None]
    _print_failures(failed, console)
    console.print(f"report: {escape(str(how.out / 'report.html'))}", soft_wrap=True)
    return 1 if failed else 0


def _print_failures(failed: Sequence[AnyOutcome], console: Console) -> None:
    for outcome in failed:
        job = outcome.job
        console.print(
            f"[red]failed[/] {escape(f'{job.agent} on {job.env}, seed {job.seed}')}: "
            f"{escape(outcome.reason)}",
            soft_wrap=True,
        )


def _run(missing: Sequence[Job], how: Comparison, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("jobs", total=len(missing))
        work = [_Work(job, how.out, how.command) for job in missing]
        for done, reason in run_in_processes(_run_work, work, how.workers):
            if reason:
                with contextlib.suppress(OSError):  # a full disk: the report shows it too
                    write_error(job_folder(how.out, done.job), reason)
            progress.advance(task)


@dataclass(frozen=True)
class _Work:
    job: Job
    out: Path
    command: str


def _run_work(work: _Work) -> None:
    run_job(work.job, job_folder(work.out, work.job), work.command)
