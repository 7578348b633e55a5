"""The command `compare`: every agent on every environment from every seed, and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from baselines.commands.comparison_plan import CompareOptions, Plan, plan
from baselines.commands.measured_training import measured, tell_unmeasured
from baselines.jobs.checkpoints import (
    chosen_interval,
    discard_checkpoints,
)
from baselines.jobs.folder_lock import FolderInUse, FolderUnusable, check_folder, locked
from baselines.jobs.interruption import Interrupted, watched_signals
from baselines.jobs.job import AnyOutcome, Job, job_folder
from baselines.jobs.processes import GRACE, run_in_processes
from baselines.jobs.run_folder import differing_checkpoints, run_job, write_error
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
    job_timeout: float | None = None  # [s] for each job; None for no limit
    resume: bool = True  # go on with trainings from their checkpoints
    diagnostics: bool = False  # measure trainings as they go


def compare(options: CompareOptions, console: Console) -> int:
    """Run the missing jobs, write the results, plots and report.html, and print the tables.

    Returns:
        The exit code: 0, 1 if a job failed, 130 if interrupted, 143 after SIGTERM.

    Raises:
        ValueError: for an unknown name or setting, or if another comparison runs in the folder;
            before any job starts.
    """
    how = _how(options)
    return run_comparison(plan(options), how, console)


class FinishedJob(NamedTuple):
    """A job that did not fail."""

    job: Job
    result: Any  # what jobs of that kind measure: a `SolverResult`, an `EpisodicResult`
    folder: Path  # of its files


def finished_jobs(options: CompareOptions, console: Console) -> list[FinishedJob]:
    """Run the missing jobs, as `compare` does, and return the jobs that did not fail."""
    planned = plan(options)
    run_comparison(planned, _how(options), console)
    finished = []
    for job in planned.jobs:
        folder = job_folder(options.out, job)
        result = job.outcome(folder).result
        if result is not None:
            finished.append(FinishedJob(job, result, folder))
    return finished


def _how(options: CompareOptions) -> Comparison:
    return Comparison(
        options.out,
        options.workers,
        options.title,
        options.command(),
        options.job_timeout,
        options.resume,
        options.diagnostics,
    )


def run_comparison(planned: Plan, how: Comparison, console: Console) -> int:
    """Run the missing jobs of a plan, as `compare` does."""
    check_folder("--out", how.out)
    chosen_interval()
    with locked(how.out, how.command):
        return _run_locked(planned, how, console)


def _run_locked(planned: Plan, how: Comparison, console: Console) -> int:
    jobs = planned.jobs
    before = [job.outcome(job_folder(how.out, job)) for job in jobs]
    missing = [outcome.job for outcome in before if outcome.result is None]
    for damaged in (outcome for outcome in before if outcome.is_damaged):
        told = f"{_name(damaged.job)}: {damaged.reason}"
        console.print(f"[yellow]runs again[/] {escape(told)}", soft_wrap=True)
    for job in jobs:
        _look_after_checkpoints(job, job_folder(how.out, job), job in missing, console)
    if how.diagnostics:
        tell_unmeasured([job_folder(how.out, job) for job in jobs if job not in missing], console)
    if not how.resume:
        for job in missing:
            discard_checkpoints(job_folder(how.out, job))
    try:
        with watched_signals():
            unrecorded = _run(missing, how, console)
    except Interrupted as stop:
        console.print(
            f"[yellow]interrupted[/]; finished jobs are kept in {escape(str(how.out))}. "
            "The same command runs the rest:",
        )
        console.print(escape(how.command), soft_wrap=True)
        return stop.exit_code
    outcomes = [_outcome(job, how.out, unrecorded) for job in jobs]
    write_outputs(how.out, how.title, how.command, planned.models, outcomes, console)
    console.print(f"{len(jobs)} jobs: ran {len(missing)}, kept {len(jobs) - len(missing)}")
    failed = [outcome for outcome in outcomes if outcome.result is None]
    _print_failures(failed, console)
    console.print(f"report: {escape(str(how.out / 'report.html'))}", soft_wrap=True)
    return 1 if failed else 0


def _look_after_checkpoints(job: Job, folder: Path, is_missing: bool, console: Console) -> None:
    """Remove what a kill after the end left behind; tell of checkpoints that will be of no use."""
    if not is_missing:
        discard_checkpoints(folder)
        return
    if differing_checkpoints(folder, job):
        told = f"{_name(job)}: the checkpoints in {folder} are of other settings"
        console.print(f"[yellow]starts anew[/] {escape(told)}", soft_wrap=True)


def _outcome(job: Job, out: Path, unrecorded: Mapping[Path, str]) -> AnyOutcome:
    """Return the outcome of a job, which may have failed without being able to write why."""
    folder = job_folder(out, job)
    outcome = job.outcome(folder)
    if outcome.result is None and folder in unrecorded:
        return replace(outcome, error=unrecorded[folder])
    return outcome


def _name(job: Job) -> str:
    return f"{job.agent} on {job.env}, seed {job.seed}"


def _print_failures(failed: Sequence[AnyOutcome], console: Console) -> None:
    for outcome in failed:
        told = f"{_name(outcome.job)}: {outcome.reason}"
        console.print(f"[red]failed[/] {escape(told)}", soft_wrap=True)


def _run(missing: Sequence[Job], how: Comparison, console: Console) -> dict[Path, str]:
    """Run jobs; return why jobs failed that could not write it, by folder."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    work = [_Work(job, how.out, how.command, how.diagnostics) for job in missing]
    unrecorded = {}

    def tell() -> None:
        console.print(
            "[yellow]stopping[/]: running trainings save their state first, which takes up to "
            f"{GRACE:g} s; Ctrl-C stops them at once",
            soft_wrap=True,
        )

    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("jobs", total=len(missing))
        running = run_in_processes(_run_work, work, how.workers, how.job_timeout, tell)
        with closing(running):
            for done, reason in running:
                folder = job_folder(how.out, done.job)
                if reason and not _is_recorded(folder, how.command, reason):
                    unrecorded[folder] = reason
                progress.advance(task)
    return unrecorded


def _is_recorded(folder: Path, command: str, reason: str) -> bool:
    """Write why a job failed into its folder, and return whether that was possible."""
    try:
        with locked(folder, command):
            write_error(folder, reason)
    except (FolderInUse, FolderUnusable, OSError):  # OSError: of a full disk
        return False
    return True


@dataclass(frozen=True)
class _Work:
    job: Job
    out: Path
    command: str
    diagnostics: bool


def _run_work(work: _Work) -> str:
    folder = job_folder(work.out, work.job)
    return run_job(work.job, folder, work.command, measured(folder) if work.diagnostics else None)
