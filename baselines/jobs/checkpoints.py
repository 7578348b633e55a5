"""The checkpoints of a training: complete or not there, the newest two, and only of the same job.

    checkpoint/step_000000204800/
        manifest.json   the job, the versions, and the SHA-256 of the other files
        agent.zip       the agent, as `agents.load` reads it
        training.zip    environments, episodes and log in the middle of the training
        progress.csv    as far as it was written

A folder is written under another name and then renamed, so a kill at any moment leaves the one
before. All files hold data only.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from baselines.atomic_files import write_json
from baselines.jobs.stored_result import file_digest

CHECKPOINTS = "checkpoint"  # folder of a job that can be continued
INTERVAL = 60.0  # [s] between checkpoints, if they are cheap
INTERVAL_VARIABLE = "SAFE_ENVS_CHECKPOINT_SECONDS"  # of the environment, with another interval
FORMAT = 1
MANIFEST = "manifest.json"
KEPT = 2
PREFIX, UNFINISHED = "step_", ".writing_"


class CheckpointRefusedError(ValueError):
    """A checkpoint was written by other versions, with which the training may differ."""


class Checkpoint(NamedTuple):
    """A complete checkpoint."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def timesteps(self) -> int:
        """Steps taken until then."""
        return int(self.manifest["timesteps"])


class Checkpoints:
    """The checkpoints in the folder of a run.

    Args:
        run: folder of the run.
        config: of its job, as JSON data.
        versions: of the packages that affect the numbers.
        files: that each of them holds.
    """

    def __init__(
        self,
        run: Path,
        config: Mapping[str, Any],
        versions: Mapping[str, str],
        files: Sequence[str] = (),
    ) -> None:
        self._folder, self._files = run / CHECKPOINTS, files
        self._identity = {"config": json.loads(json.dumps(config)), "versions": dict(versions)}

    def write(self, timesteps: int, extra: Mapping[str, Any], fill: Callable[[Path], None]) -> None:
        """Write a checkpoint, then remove all but the newest two.

        Args:
            timesteps: taken so far.
            extra: further entries of the manifest, as JSON data.
            fill: writes the other files into a folder.

        Raises:
            OSError: if there is no space; earlier checkpoints stay as they are.
        """
        name = f"{PREFIX}{timesteps:012d}"
        unfinished = self._folder / f"{UNFINISHED}{name}"
        _remove(unfinished)
        unfinished.mkdir(parents=True)
        try:
            fill(unfinished)
            digests = {file.name: file_digest(file) for file in sorted(unfinished.iterdir())}
            manifest = {"format": FORMAT, "timesteps": timesteps, "files": digests}
            write_json(unfinished / MANIFEST, {**manifest, **self._identity, **extra})
            _sync(unfinished)
            _remove(self._folder / name)
            os.rename(unfinished, self._folder / name)
            _sync(self._folder)
        except BaseException as error:
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(unfinished)
            _remove(unfinished)
            raise
        for old in self._found()[KEPT:]:
            _remove(old)

    def usable(self, warn: Callable[[str], None]) -> Iterator[Checkpoint]:
        """Yield the checkpoints of this job that are complete and undamaged, the newest first.

        Args:
            warn: is told of each damaged one that is passed over.

        Raises:
            CheckpointRefusedError: if other versions wrote it.
        """
        for folder in self._found():
            manifest, problem = _read(folder, self._files)
            if problem:
                warn(f"the checkpoint {folder} is damaged ({problem}); the one before it is used")
            elif manifest["config"] == self._identity["config"]:
                self._check_versions(folder, manifest["versions"])
                yield Checkpoint(folder, manifest)

    def remove(self) -> None:
        """Remove all checkpoints."""
        _remove(self._folder)

    def _found(self) -> list[Path]:
        """Return the folders of checkpoints, the newest first."""
        return _folders(self._folder)

    def _check_versions(self, folder: Path, versions: Mapping[str, str]) -> None:
        now = self._identity["versions"]
        differing = [
            f"{name} {versions.get(name)} (now {now.get(name)})"
            for name in sorted({*versions, *now})
            if versions.get(name) != now.get(name)
        ]
        if differing:
            raise CheckpointRefusedError(
                f"the checkpoint {folder} was written with {', '.join(differing)}, and the "
                "training would not go on as it began; install those versions, or start it anew "
                "with --no-resume"
            )


def chosen_interval() -> float | None:
    """Return the seconds between checkpoints that the user wants, None for the usual ones.

    Raises:
        ValueError: if the variable is not a number of seconds.
    """
    given = os.environ.get(INTERVAL_VARIABLE, "").strip()
    if not given:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds < math.inf:
        raise ValueError(
            f"the environment variable {INTERVAL_VARIABLE} is {given!r}; set it to a number of "
            f"seconds >= 0, or unset it for {INTERVAL:g}"
        )
    return seconds


def checkpointed_config(run: Path) -> dict[str, Any] | None:
    """Return the configuration of the job whose checkpoints a folder holds, None without any."""
    for folder in _folders(run / CHECKPOINTS):
        manifest, problem = _read(folder, ())
        if not problem:
            config: dict[str, Any] = manifest["config"]
            return config
    return None


def discard_checkpoints(run: Path) -> None:
    """Remove the checkpoints of a run, so that it starts anew."""
    _remove(run / CHECKPOINTS)


def _folders(checkpoints: Path) -> list[Path]:
    """Return the folders of checkpoints, the newest first."""
    found = sorted(checkpoints.glob(f"{PREFIX}*"), reverse=True) if checkpoints.is_dir() else []
    return [one for one in found if one.is_dir() and not one.is_symlink()]


def _read(folder: Path, needed: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Return the manifest of a checkpoint, and what is wrong with the checkpoint."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["format"] != FORMAT:
            return {}, f"its format is {manifest['format']!r}, this version reads {FORMAT}"
        if not isinstance(manifest["timesteps"], int) or not isinstance(manifest["versions"], dict):
            return {}, "its manifest is not one"
        missing = [name for name in needed if name not in manifest["files"]]
        if missing:
            return {}, f"its manifest does not name {', '.join(missing)}"
        for name, digest in manifest["files"].items():
            if file_digest(folder / Path(name).name) != digest:
                return {}, f"{name} is not what was written"
        return manifest, "" if isinstance(manifest["config"], dict) else "its manifest is not one"
    except OSError as error:
        return {}, f"{Path(str(error.filename)).name}: {error.strerror}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}, "its manifest cannot be read"


def _sync(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    if folder.is_symlink():  # to another disk, maybe
        for one in _folders(folder):
            _remove(one)
        folder.unlink()
        return
    shutil.rmtree(folder, ignore_errors=True)
