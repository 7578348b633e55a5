"""The files of one job: config.json, what the job leaves and, written last, result.json.

Every file appears under its name only when complete, so that a kill at any moment leaves a job
either done (result.json is there) or to be run again. A failed job has error.txt instead.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agents.tabular.solver_trace import SolverTrace
from baselines.atomic_files import write_atomically, write_json
from baselines.jobs.job import AJob, AnyJob, AResult, Job, JobResult, Outcome, TabularOutcome
from baselines.jobs.training_job import TrainingJob, TrainingOutcome, TrainingResult

PROVENANCE = ("command", "versions")  # in config.json, but they do not decide the result
TRACE_ARRAYS = ("value", "violation", "multipliers", "policy")


def open_run(folder: Path, job: AnyJob, provenance: Mapping[str, Any] | None = None) -> None:
    """Drop what an earlier run left in the folder and write the job's configuration.

    Args:
        folder: of the job.
        job: what will run.
        provenance: entries of `PROVENANCE` to keep beside the configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in ("result.json", "error.txt", *job.files, *job.other_files):
        if (folder / leftover).is_dir():
            shutil.rmtree(folder / leftover)
        (folder / leftover).unlink(missing_ok=True)
    write_json(folder / "config.json", {**job.config(), **(provenance or {})})


def close_run(folder: Path, trace: SolverTrace, result: JobResult) -> None:
    """Write the trace and then the result, which marks the job as done."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        value=trace.value,
        violation=trace.violation,
        multipliers=trace.multipliers,
        policy=trace.policy,
    )
    write_atomically(folder / "trace.npz", buffer.getvalue())
    write_json(folder / "result.json", asdict(result))


def write_error(folder: Path, message: str) -> None:
    """Keep the traceback of a failed job."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "error.txt", message.encode())


def is_done(folder: Path, job: AnyJob) -> bool:
    """Return whether the folder holds the result of this very job."""
    complete = all((folder / name).exists() for name in ("result.json", *job.files))
    return complete and read_config(folder) == json.loads(json.dumps(job.config()))


def read_config(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of the job in the folder, None if there is none to be read."""
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return {key: value for key, value in found.items() if key not in PROVENANCE}


def read_outcome(folder: Path, job: Job) -> TabularOutcome:
    """Return the result of a tabular job, or why it has none."""
    return _outcome(folder, job, lambda data: JobResult(**data))


def read_training_outcome(folder: Path, job: TrainingJob) -> TrainingOutcome:
    """Return the result of a training run, or why it has none."""
    return _outcome(folder, job, TrainingResult.from_json)


def read_trace(folder: Path) -> SolverTrace:
    """Return the trace of a finished job."""
    with np.load(folder / "trace.npz", allow_pickle=False) as arrays:
        return SolverTrace(**{name: arrays[name] for name in TRACE_ARRAYS})


def _outcome(
    folder: Path, job: AJob, build: Callable[[dict[str, Any]], AResult]
) -> Outcome[AJob, AResult]:
    if is_done(folder, job):
        return Outcome(job, build(json.loads((folder / "result.json").read_text("utf-8"))))
    error = folder / "error.txt"
    text = error.read_text("utf-8") if error.exists() else ""
    return Outcome(job, None, text or "the job left no result and no error.txt")
