"""Trains what has no result yet, in worker processes; a second call does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from rich.console import Console

from baselines.jobs.job import Job
from baselines.jobs.processes import run_in_processes
from baselines.jobs.run_folder import run_job


class PlannedTraining(Protocol):
    """A training of an experiment; it is sent to a worker process."""

    @property
    def job(self) -> Job:
        """What is trained."""

    @property
    def folder(self) -> Path:
        """Folder of the run."""

    @property
    def command(self) -> str:
        """The shell command of the experiment."""

    @property
    def shown(self) -> str:
        """The training in words."""


def train_missing(
    trainings: Sequence[PlannedTraining], processes: int, console: Console
) -> dict[Path, str]:
    """Train what has no result yet, and print what became of it.

    Args:
        trainings: of an experiment, each in a folder of its own.
        processes: number of worker processes.
        console: gets a line per training.

    Returns:
        Why trainings failed, by folder; empty if none did.

    Raises:
        Interrupted: at Ctrl-C or SIGTERM; running trainings have saved their state.
    """
    missing = [one for one in trainings if one.job.outcome(one.folder).result is None]
    console.print(f"{len(trainings)} trainings, {len(missing)} of them missing")
    failures = {}
    with closing(run_in_processes(_train, missing, processes)) as running:
        for done, unrecorded in running:
            outcome = done.job.outcome(done.folder)
            if outcome.result is None:
                failures[done.folder] = unrecorded or outcome.reason
            told = failures.get(done.folder, "done")
            console.print(f"{done.shown}: {told}", soft_wrap=True, markup=False)
    return failures


def _train(training: PlannedTraining) -> str:
    return run_job(training.job, training.folder, training.command)
