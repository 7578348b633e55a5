"""The files of one job: config.json, trace.npz and, written last, result.json.

Every file appears under its name only when complete, so that a kill at any moment leaves a job
either done (result.json is there) or to be run again. A failed job has error.txt instead.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from agents.tabular.solver_trace import SolverTrace
from baselines.job import Job, JobResult, Outcome

TRACE_ARRAYS = ("value", "violation", "multipliers", "policy")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that either keeps its old content or has the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def open_run(folder: Path, job: Job) -> None:
    """Drop what an earlier run left in the folder and write the job's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in ("result.json", "error.txt", "trace.npz"):
        (folder / leftover).unlink(missing_ok=True)
    _write_json(folder / "config.json", job.config())


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
    _write_json(folder / "result.json", asdict(result))


def write_error(folder: Path, message: str) -> None:
    """Keep the traceback of a failed job."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "error.txt", message.encode())


def is_done(folder: Path, job: Job) -> bool:
    """Return whether the folder holds the result of this very job."""
    complete = (folder / "result.json").exists() and (folder / "trace.npz").exists()
    return complete and _read_json(folder / "config.json") == _as_json(job.config())


def read_outcome(folder: Path, job: Job) -> Outcome:
    """Return the result of a job, or why it has none."""
    if is_done(folder, job):
        return Outcome(job, JobResult(**json.loads((folder / "result.json").read_text("utf-8"))))
    error = folder / "error.txt"
    text = error.read_text("utf-8") if error.exists() else ""
    return Outcome(job, None, text or "the job left no result and no error.txt")


def read_trace(folder: Path) -> SolverTrace:
    """Return the trace of a finished job."""
    with np.load(folder / "trace.npz", allow_pickle=False) as arrays:
        return SolverTrace(**{name: arrays[name] for name in TRACE_ARRAYS})


def _write_json(path: Path, data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=2, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _as_json(data: dict[str, Any]) -> Any:
    return json.loads(json.dumps(data))
