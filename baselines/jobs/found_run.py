"""What a folder of a run holds: its settings, its result, or why there is none.

The folder may come from someone else: its files are read as data, and nothing in it is executed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any, Literal

from baselines.jobs.checkpoints import CHECKPOINTS
from baselines.jobs.job import Job
from baselines.jobs.kinds import job_from
from baselines.jobs.stored_config import DamagedConfig
from baselines.measures.learning_curve import TIMESTEPS

State = Literal["finished", "unfinished", "failed", "damaged"]

CONFIG, RESULT, PROGRESS, ERROR = "config.json", "result.json", "progress.csv", "error.txt"
LOOKED_INTO = 6  # levels of folders below the one that is searched for runs
# of data that has another form than what this version writes
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OSError)


@dataclass(frozen=True)
class FoundRun:
    """A folder with a config.json."""

    folder: Path
    state: State
    reason: str  # of a state other than finished; one line
    config: Mapping[str, Any]  # as it stands in config.json; empty if it cannot be read
    job: Job | None  # None if config.json cannot be read
    result: Any = None  # of a finished run: an `EpisodicResult` or a `SolverResult`

    @property
    def command(self) -> str:
        """The shell command that started the run; "" if it was not kept."""
        return str(self.config.get("command", ""))

    @property
    def versions(self) -> dict[str, str]:
        """Versions of Python and of the packages that the run was made with; {} if not kept."""
        kept = self.config.get("versions", {}) if self.result is None else self.result.versions
        return kept if isinstance(kept, dict) else {}

    def finished(self) -> FoundRun:
        """Return the run itself if it is finished.

        Raises:
            ValueError: if it is not, with the reason and what to do.
        """
        advice = {
            "unfinished": "wait for its end, or run its command again",
            "failed": "see its error.txt, and run it again",
            "damaged": "delete the folder and run it again, or copy it again from its source",
        }
        if self.state != "finished":
            raise ValueError(
                f"{self.folder} has no finished run ({self.state}): {self.reason}; "
                f"{advice[self.state]}"
            )
        return self


def find_run(folder: Path) -> FoundRun:
    """Return the run in a folder, in whatever state it is.

    Raises:
        ValueError: if the folder holds no run.
    """
    if not (folder / CONFIG).exists():
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        below = _folders_below(folder)
        raise ValueError(
            f"{folder} {what}, so it is not a run; pass a folder that the command train wrote, or "
            + (
                f"one of the {len(below)} runs in it, such as {below[0]}"
                if below
                else "one of a comparison, OUT/ENVIRONMENT/AGENT/seed_N"
            )
        )
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        job = job_from(config)
    except MALFORMED as error:
        return FoundRun(folder, "damaged", f"{folder / CONFIG} {_unreadable(error)}", {}, None)
    try:
        outcome = job.outcome(folder)
        result, reason = outcome.result, outcome.reason
    except MALFORMED as error:
        result, reason = None, f"{folder / RESULT} {_unreadable(error)}"
    else:
        if outcome.is_damaged:
            return FoundRun(folder, "damaged", reason, config, job)
    if result is not None:
        return FoundRun(folder, "finished", "", config, job, result)
    state, why = _without_result(folder, job, reason)
    return FoundRun(folder, state, why, config, job)


def find_runs(folder: Path) -> list[FoundRun]:
    """Return the run in a folder, or all runs below it, such as those of a comparison.

    Raises:
        ValueError: if there is none.
    """
    if (folder / CONFIG).exists() or not folder.is_dir():
        return [find_run(folder)]
    below = _folders_below(folder)
    if not below:
        raise ValueError(
            f"{folder} holds no run and no comparison: there is no config.json in it or below it; "
            "pass a folder that the command train or compare wrote"
        )
    return [find_run(one) for one in below]


def _folders_below(folder: Path) -> list[Path]:
    """Return the folders of runs in a folder, sorted; none if it is no folder."""
    found = [path.parent for path in folder.rglob(CONFIG)]
    near = [one for one in found if len(one.relative_to(folder).parts) <= LOOKED_INTO]
    return sorted(near, key=_in_order)


def _in_order(folder: Path) -> list[tuple[str, int]]:
    """Sort seed_10 behind seed_9."""
    parts = [part.rpartition("_") for part in folder.parts]
    return [
        (before + mark, int(end)) if end.isdecimal() else (before + mark + end, -1)
        for before, mark, end in parts
    ]


def _without_result(folder: Path, job: Job, reason: str) -> tuple[State, str]:
    """Return the state of a run without a usable result, and why it is in it."""
    if (folder / RESULT).exists():
        obsolete = [name for name in job.record.obsolete_files if (folder / name).exists()]
        if obsolete or str(folder / RESULT) in reason:
            return "damaged", reason
        return "damaged", (
            f"{folder / CONFIG} has other entries than this version writes for {job.agent}, so "
            f"{RESULT} is not taken for its result"
        )
    if (folder / ERROR).exists():
        return "failed", reason
    return "unfinished", f"no {RESULT} yet; {_last_sign(folder)}"


def _last_sign(folder: Path) -> str:
    """Return when a run without a result last wrote something, and how far it was."""
    progress = folder / PROGRESS
    file = progress if progress.exists() else folder / CONFIG
    ago = timedelta(seconds=max(0, round(time() - file.stat().st_mtime)))
    told = f"{file.name} was last written {ago} ago (hours:minutes:seconds){_steps_in(progress)}"
    if (folder / CHECKPOINTS).is_dir():
        told += "; if it was interrupted, its command goes on from the newest checkpoint"
    return told


def _steps_in(progress: Path) -> str:
    """Return the last timestep of a log, in words; "" if there is none."""
    try:
        with progress.open(newline="", encoding="utf-8") as file:
            steps = [row[TIMESTEPS] for row in csv.DictReader(file) if row.get(TIMESTEPS)]
        return f", at step {int(float(steps[-1])):,}" if steps else ""
    except (OSError, ValueError, csv.Error):
        return ""


def _unreadable(error: Exception) -> str:
    if isinstance(error, DamagedConfig):
        return f"is damaged: {error}"
    kind = "is not JSON" if isinstance(error, json.JSONDecodeError) else "cannot be read"
    told = f"no {error}" if isinstance(error, KeyError) else str(error)
    return f"{kind} ({type(error).__name__}: {told})"
