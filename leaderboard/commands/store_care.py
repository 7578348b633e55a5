"""The commands `check-store` and `backup`, which look after a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from leaderboard.store.backup import back_up
from leaderboard.store.database import embedded_url, open_as_it_is
from leaderboard.store.schema import newest_revision
from leaderboard.store.store_check import check_store


@dataclass(frozen=True)
class CheckStoreOptions:
    """Check that a store is whole, and say what is wrong and what to do; changes nothing."""

    db: str = embedded_url()
    """Store."""


@dataclass(frozen=True)
class BackupOptions:
    """Copy a SQLite store, which may be in use meanwhile, and verify the copy."""

    file: Annotated[Path, tyro.conf.Positional]
    """The copy; there must be no file with this name."""
    db: str = embedded_url()
    """Store."""


def check(options: CheckStoreOptions, console: Console) -> int:
    """Check a store, print what was found and return the exit code, 1 if something is wrong.

    Raises:
        ValueError: if it cannot be opened, or an earlier version wrote it.
    """
    database, is_current = open_as_it_is(options.db)
    try:
        if not is_current:
            raise ValueError(
                f"the store {database.shown} was written by an earlier version; make a backup, "
                f"then any other command brings it to revision {newest_revision()}"
            )
        findings = check_store(database)
    finally:
        database.close()
    for finding in findings:
        if finding.problems:
            text = f"{escape(finding.shown)}. What to do: {escape(finding.advice)}"
            console.print(f"[red]wrong:[/] {finding.check}: {text}", soft_wrap=True)
        else:
            console.print(f"ok: {finding.check}")
    return 1 if any(finding.problems for finding in findings) else 0


def backup(options: BackupOptions, console: Console) -> int:
    """Copy a store and return the exit code, 0.

    Raises:
        ValueError: if the store cannot be copied, or the copy's name is taken.
        OSError: if the copy cannot be written.
    """
    database, _ = open_as_it_is(options.db)
    try:
        size = back_up(database, options.file)
    finally:
        database.close()
    console.print(f"{escape(str(options.file))}: {size:,} bytes, verified", soft_wrap=True)
    return 0
