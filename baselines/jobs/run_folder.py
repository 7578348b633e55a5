"""The files of one job: config.json, what the job leaves and, written last, result.json.

Every file appears under its name only when complete, so after a kill at any moment a job is
either done (result.json exists) or is run again. A failed job has error.txt instead.
"""

from __future__ import annotations

import json
import platform
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from baselines.atomic_files import write_atomically, write_json
from baselines.jobs.job import AJob, AResult, Job, JobRefused, Outcome

CHECKPOINTS = "checkpoint"  # folder of a job that can be continued
PROVENANCE = ("command", "versions")  # in config.json, but they do not affect the result


def run_job(job: Job, folder: Path, command: str) -> None:
    """Run a job and write its files; the traceback of an exception goes to error.txt.

    Args:
        job: of any kind.
        folder: of the job.
        command: the command line that started it, for config.json.
    """
    try:
        open_run(folder, job)
        job.run(folder, command)
    except JobRefused as refused:
        write_error(folder, "".join(traceback.format_exception(refused.__cause__ or refused)))
    except Exception:
        write_error(folder, traceback.format_exc())


def open_run(folder: Path, job: Job, provenance: Mapping[str, Any] | None = None) -> None:
    """Delete what an earlier run left in the folder and write the job's configuration.

    If it left checkpoints of the same job, the files that go on from there are kept.

    Args:
        folder: of the job.
        job: what will run.
        provenance: entries of `PROVENANCE` to keep beside the configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = job.record
    _delete(folder, ("result.json", "error.txt"))
    if not (folder / CHECKPOINTS).is_dir() or read_config(folder) != _as_json(record.config):
        start_anew(folder, job)
    write_json(folder / "config.json", {**record.config, **(provenance or {})})


def start_anew(folder: Path, job: Job) -> None:
    """Delete what an earlier run of a job left in the folder, its checkpoints included."""
    record = job.record
    leftovers = (*record.files, *record.other_files, *record.obsolete_files, CHECKPOINTS)
    _delete(folder, leftovers)


def write_error(folder: Path, message: str) -> None:
    """Keep the traceback of a failed job."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "error.txt", message.encode())


def is_done(folder: Path, job: Job) -> bool:
    """Return whether the folder holds the result of exactly this job."""
    record = job.record
    complete = all((folder / name).exists() for name in ("result.json", *record.files))
    current = not _obsolete_files(folder, job)
    return complete and current and read_config(folder) == _as_json(record.config)


def read_config(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of the job in the folder, None if there is none that can be read."""
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return {key: value for key, value in found.items() if key not in PROVENANCE}


def read_outcome(
    folder: Path, job: AJob, build: Callable[[dict[str, Any]], AResult]
) -> Outcome[AJob, AResult]:
    """Return the result of a job, or why it has none.

    Args:
        folder: of the job.
        job: only its own result counts.
        build: makes the result from the data of result.json.
    """
    if is_done(folder, job):
        return Outcome(job, build(json.loads((folder / "result.json").read_text("utf-8"))))
    obsolete = _obsolete_files(folder, job)
    if obsolete:
        return Outcome(
            job,
            None,
            f"an earlier version wrote it, with {', '.join(obsolete)}, which is no longer read",
        )
    differing = differing_settings(folder, job)
    if differing and (folder / "result.json").exists():
        told = ", ".join(differing)
        return Outcome(job, None, f"another job or an earlier version wrote it: {told} differs")
    error = folder / "error.txt"
    text = error.read_text("utf-8") if error.exists() else ""
    return Outcome(job, None, text or "the job left no result and no error.txt")


def _as_json(config: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(config))


def _delete(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)


def differing_settings(folder: Path, job: Job) -> list[str]:
    """Return the entries of the folder's config.json that are not the job's, by name."""
    found, wanted = read_config(folder) or {}, _as_json(job.record.config)
    return sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))


def _obsolete_files(folder: Path, job: Job) -> list[str]:
    """Return the files in the folder that only an earlier version wrote."""
    return [name for name in job.record.obsolete_files if (folder / name).exists()]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of the packages that affect the numbers."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
