"""The trainings that an experiment is made of."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from baselines.commands.compare import Comparison, run_comparison
from baselines.commands.comparison_plan import CompareOptions, plan
from baselines.jobs.training_job import TrainingJob, TrainingResult
from baselines.report.outputs import read_any_outcome


class FinishedTraining(NamedTuple):
    """A training that did not fail."""

    job: TrainingJob
    result: TrainingResult
    progress: Path  # its progress.csv


def run_trainings(options: CompareOptions, console: Console) -> list[FinishedTraining]:
    """Train what is missing, as `baselines compare` does; return what did not fail."""
    planned = plan(options)
    how = Comparison(options.out, options.workers, options.title, options.command())
    run_comparison(planned, how, console)
    finished = []
    for job in planned.jobs:
        folder = job.folder(options.out)
        result = read_any_outcome(folder, job).result
        if isinstance(job, TrainingJob) and isinstance(result, TrainingResult):
            finished.append(FinishedTraining(job, result, folder / "progress.csv"))
    return finished
