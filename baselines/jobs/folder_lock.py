"""Keeps two runs out of one folder, and says who is in it.

The operating system locks the file `.lock`: the lock ends with the process that holds it, also if
that is killed, so a file that stays behind means nothing. `.lock.json` names the holder and is
deleted when the holder leaves, so one that stays behind tells of a run that was killed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from baselines.atomic_files import write_json

LOCK, HOLDER = ".lock", ".lock.json"
ORPHANS_TIME = 75.0  # [s] that a worker has left when its comparison is killed, and a little more
NAMELESS_TIME = 1.0  # [s] that a holder has to write who it is, or to leave after deleting that
POLL = 0.1  # [s]


class FolderInUse(ValueError):
    """Another run is in the folder; the message names it."""


class FolderUnusable(ValueError):
    """Nothing can be written in the folder; the message says why."""


@dataclass(frozen=True)
class Holder:
    """The process that has a lock."""

    pid: int
    host: str
    since: str  # date and time with the offset to UTC
    command: str
    parent: int | None = None  # process of the comparison that it works for

    @property
    def told(self) -> str:
        """Who it is, in words."""
        return f"process {self.pid} on {self.host}, since {self.since}: {self.command}"


@contextmanager
def locked(folder: Path, command: str) -> Iterator[Holder | None]:
    """Be the only run in a folder, which is made if it is missing; yield who was killed in it.

    A worker whose comparison was killed saves its training and ends by itself; that is waited for.
    If the block leaves nothing in a folder that was missing, the folder is removed again.

    Args:
        folder: of a run or of a comparison.
        command: the command line, told to others who want the folder.

    Yields:
        The last run in the folder if it ended without leaving (killed, out of memory, a call of
        os._exit), else None.

    Raises:
        FolderInUse: if another run is in it.
        FolderUnusable: if nothing can be written in it.
    """
    lock = FileLock(folder / LOCK)
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        _acquire(lock, folder)
    except FolderInUse:
        raise
    except (OSError, ValueError) as error:  # ValueError: of a path with a null character
        raise FolderUnusable(_unusable(folder, error)) from error
    try:
        killed = read_holder(folder)
        _write_holder(folder, command)
        yield killed
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()
        _remove_empty(missing)


def read_holder(folder: Path) -> Holder | None:
    """Return who has the lock or was killed with it; None if nobody is named there."""
    try:
        return Holder(**json.loads((folder / HOLDER).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def check_folder(option: str, folder: Path) -> None:
    """Raise ValueError if a path can be no folder, or has a name that reports could not show.

    Args:
        option: that the folder is passed with, such as "--out".
        folder: to check; it may be missing.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{option} is {os.fsencode(folder)!r}, which is not UTF-8; reports and commands could "
            "not name it: pass a folder whose name is UTF-8"
        ) from None
    try:
        (folder / LOCK).stat()  # `exists` does not tell a folder that is missing from a file
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise FolderUnusable(_unusable(folder, error)) from error


def _acquire(lock: FileLock, folder: Path) -> None:
    began = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = read_holder(folder)
            if time.monotonic() >= began + _patience(holder):
                raise FolderInUse(_in_use(folder, holder)) from None
            time.sleep(POLL)
        else:
            return


def _patience(holder: Holder | None) -> float:
    """Return how long the holder of a lock is waited for [s]."""
    if holder is None:
        return NAMELESS_TIME
    return ORPHANS_TIME if _is_orphan(holder) else 0.0


def _is_orphan(holder: Holder) -> bool:
    """Return whether the comparison that the holder works for has ended."""
    if holder.parent is None or holder.host != socket.gethostname():
        return False
    try:
        os.kill(holder.parent, 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's process
        return False
    return False


def _in_use(folder: Path, holder: Holder | None) -> str:
    who = holder.told if holder else "a process that has not yet written who it is"
    return f"{folder} is in use by {who}; wait until it has ended, end it, or pass another folder"


def _unusable(folder: Path, error: OSError | ValueError) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"nothing can be written in {folder}: {reason}; pass a folder that can be written"


def _write_holder(folder: Path, command: str) -> None:
    parent = multiprocessing.parent_process()
    holder = Holder(
        pid=os.getpid(),
        host=socket.gethostname(),
        since=datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds"),
        command=command,
        parent=None if parent is None else parent.pid,
    )
    write_json(folder / HOLDER, asdict(holder))


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, that hold at most a lock file."""
    for folder in folders:
        try:
            if any(path.name != LOCK for path in folder.iterdir()):
                return
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()
        except OSError:
            return
