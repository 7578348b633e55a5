"""The files of one job: config.json, what the job leaves and, written last, result.json.

Every file appears under its name only when complete, so after a kill at any moment a job is
either done (result.json exists) or is run again. A failed job has error.txt instead.
"""

from __future__ import annotations

import json
import platform
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from baselines.atomic_files import write_atomically, write_json
from baselines.jobs.checkpoints import CHECKPOINTS, checkpointed_config
from baselines.jobs.folder_lock import FolderInUse, FolderUnusable, locked, read_holder
from baselines.jobs.job import AJob, AResult, Job, JobRefused, Outcome
from baselines.jobs.processes import fault_told
from baselines.jobs.stored_result import (
    DIGESTS,
    RESULT,
    DamagedFile,
    check_files,
    read_json_object,
)

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback  # PyTorch

PROVENANCE = ("command", "versions")  # in config.json, but they do not affect the result


def run_job(job: Job, folder: Path, command: str, callback: BaseCallback | None = None) -> str:
    """Run a job and write its files; the traceback of a failure goes to error.txt.

    Args:
        job: of any kind.
        folder: of the job.
        command: the command line that started it, for config.json.
        callback: of Stable-Baselines3, if it trains.

    Returns:
        Why it failed if error.txt could not be written, else "".
    """
    failure: JobFailure | None
    try:
        with locked(folder, command):
            try:
                open_run(folder, job)
                failure = attempt(job, folder, command, callback)
            except OSError as error:
                failure = _failed(folder, error)
    except (FolderInUse, FolderUnusable) as error:
        return str(error)
    return failure.reason if failure and not failure.is_recorded else ""


def attempt(
    job: Job,
    folder: Path,
    command: str,
    callback: BaseCallback | None = None,
    refusals: tuple[type[Exception], ...] = (),
) -> JobFailure | None:
    """Run a job so that no fault inside it goes beyond it, and return how it failed, if it did.

    `SystemExit` is a failure; `Interrupted` is not, and is raised.

    Args:
        job: of any kind.
        folder: of the job; the traceback of a failure goes to error.txt there.
        command: the command line that started it, for config.json.
        callback: of Stable-Baselines3.
        refusals: errors that are raised, because nothing has been written yet.
    """
    try:
        with quiet_log_writers():
            job.run(folder, command, callback)
    except refusals:
        raise
    except JobRefused as refused:
        return _failed(folder, refused.__cause__ or refused)
    except (Exception, SystemExit) as error:
        return _failed(folder, error)
    return None


class JobFailure(NamedTuple):
    """How a job failed."""

    reason: str
    is_recorded: bool  # whether error.txt has the traceback


def _failed(folder: Path, error: BaseException) -> JobFailure:
    reason = fault_told(error)
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        reason += f" (in {folder})"
    text = "".join(traceback.format_exception(error)).rstrip()
    if text.splitlines()[-1] != reason:
        text += f"\n\n{reason}"
    try:
        write_error(folder, text)
    except OSError as unwritten:
        return JobFailure(f"{reason}; error.txt cannot be written either: {unwritten}", False)
    return JobFailure(reason, True)


@contextmanager
def quiet_log_writers() -> Iterator[None]:
    """Do not print the traceback of a thread of TensorBoard that cannot write.

    TensorBoard raises the same error in the thread that trains.
    """
    before = threading.excepthook

    def print_others(fault: threading.ExceptHookArgs) -> None:
        writes_log = type(fault.thread).__module__.startswith("tensorboard.")
        if not (writes_log and isinstance(fault.exc_value, OSError)):
            before(fault)

    threading.excepthook = print_others
    try:
        yield
    finally:
        threading.excepthook = before


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
    _delete(folder, (RESULT, DIGESTS, "error.txt"))
    if checkpointed_config(folder) != _as_json(record.config):
        start_anew(folder, job)
    if (folder / "config.json").is_dir():
        _delete(folder, ("config.json",))
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
    """Return whether the folder holds the sound result of exactly this job."""
    return job.outcome(folder).result is not None


def read_config(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of the job in the folder, None if there is none that can be read."""
    try:
        found = read_json_object(folder / "config.json")
    except DamagedFile:
        return None
    return {key: value for key, value in found.items() if key not in PROVENANCE}


def read_outcome(
    folder: Path, job: AJob, build: Callable[[dict[str, Any]], AResult]
) -> Outcome[AJob, AResult]:
    """Return the result of a job, or why it has none.

    Args:
        folder: of the job.
        job: only its own result counts.
        build: makes the result from the data of result.json; ValueError if the data is damaged.
    """
    try:
        if (folder / RESULT).exists():
            return _checked_outcome(folder, job, build)
        if (folder / "error.txt").exists():
            return Outcome(job, None, (folder / "error.txt").read_text("utf-8", errors="replace"))
    except DamagedFile as damaged:
        return Outcome(job, None, str(damaged), is_damaged=True)
    except OSError as error:
        return Outcome(job, None, f"{folder} cannot be read: {error.strerror}", is_damaged=True)
    killed = read_holder(folder)
    if killed is not None:
        return Outcome(job, None, f"it left no result: killed, or not yet ended ({killed.told})")
    return Outcome(job, None, "the job left no result and no error.txt")


def _checked_outcome(
    folder: Path, job: AJob, build: Callable[[dict[str, Any]], AResult]
) -> Outcome[AJob, AResult]:
    """Return the result of the job in the folder; DamagedFile if a file of it is damaged."""
    obsolete = _obsolete_files(folder, job)
    if obsolete:
        return Outcome(
            job,
            None,
            f"an earlier version wrote it, with {', '.join(obsolete)}, which is no longer read",
        )
    record = job.record
    read_json_object(folder / "config.json")
    differing = differing_settings(folder, job)
    if differing:
        told = ", ".join(differing)
        return Outcome(job, None, f"another job or an earlier version wrote it: {told} differs")
    data = read_json_object(folder / RESULT)
    try:
        result = build(data)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFile(f"{folder / RESULT} is damaged: {error}") from error
    check_files(folder, record.files)
    return Outcome(job, result)


def _as_json(config: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(config))


def _delete(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        (folder / name).unlink(missing_ok=True)


def differing_settings(folder: Path, job: Job) -> list[str]:
    """Return the entries of the folder's config.json that are not the job's, by name."""
    return _differing(read_config(folder) or {}, job)


def differing_checkpoints(folder: Path, job: Job) -> list[str]:
    """Return the entries of the folder's checkpoints that are not the job's; none without any."""
    found = checkpointed_config(folder)
    return [] if found is None else _differing(found, job)


def _differing(found: Mapping[str, Any], job: Job) -> list[str]:
    wanted = _as_json(job.record.config)
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
