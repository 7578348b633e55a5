"""The file of a SQLite store: what can be told without opening it, and making a new one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from leaderboard.store.store_errors import StoreRefused, damaged

MAGIC = b"SQLite format 3\0"
HEADER_SIZE = 100  # [bytes]


def check_store_file(path: Path) -> None:
    """Refuse a file that cannot be a store.

    Raises:
        StoreRefused: if it is a folder, empty, no SQLite file, or cut off.
        OSError: if it cannot be read.
    """
    if path.is_dir():
        raise StoreRefused(f"{path} is a folder; pass the path of a store's file")
    size = path.stat().st_size
    if size == 0:
        raise StoreRefused(
            f"{path} is empty, and a store never is; restore a backup, or remove the file and a "
            "new store is made"
        )
    with path.open("rb") as file:
        header = file.read(HEADER_SIZE)
    if not header.startswith(MAGIC):
        raise StoreRefused(f"{path} is no store of a leaderboard: it is not a SQLite file")
    expected = _declared_size(header)
    if size < expected and not _has_log(path):
        raise damaged(str(path), f"{size:,} of {expected:,} bytes are left")


def make_store_file(path: Path, fill: Callable[[Path], None]) -> None:
    """Make a new store that is complete as soon as it exists, readable by its owner only.

    If another process makes the store at the same time, one of the two is kept.

    Args:
        path: of the store.
        fill: writes the tables into an empty file.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        fill(temporary)
        with suppress(FileExistsError):
            move_new(temporary, path)
    finally:
        remove_with_logs(temporary)


def temporary_name(path: Path) -> Path:
    """Return a name beside a path that nobody else uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")


def move_new(temporary: Path, path: Path) -> None:
    """Give a file its name in one step, never in place of another.

    Raises:
        FileExistsError: if there is a file with this name.
        OSError: if the folder cannot be written.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(f"{path} exists") from None
        os.rename(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_with_logs(path: Path) -> None:
    """Remove a SQLite file that is no longer used, and the files beside it, where they exist."""
    for ending in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):
            path.with_name(path.name + ending).unlink()


def _declared_size(header: bytes) -> int:
    """Return the size that the header gives, 0 if it gives none."""
    if len(header) < HEADER_SIZE or header[24:28] != header[92:96]:
        return 0
    page = int.from_bytes(header[16:18], "big")
    return int.from_bytes(header[28:32], "big") * (65_536 if page == 1 else page)


def _has_log(path: Path) -> bool:
    """Return whether changes wait beside the file, in which case it may be shorter than it says."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0
