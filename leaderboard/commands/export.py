"""The command `export`: the pages as files that open without a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from leaderboard.store.database import embedded_url, open_database
from leaderboard.web.static_site import write_site
from leaderboard.web.store_source import StoreSource


@dataclass(frozen=True)
class ExportOptions:
    """Write all pages as files; index.html opens from the disk, without network."""

    out: Annotated[Path, tyro.conf.Positional] = Path("runs/leaderboard")
    """Folder to write to."""
    db: str = embedded_url()
    """Store."""


def export(options: ExportOptions, console: Console) -> int:
    """Write the pages and return the exit code, 0."""
    database = open_database(options.db)
    try:
        written = write_site(StoreSource(database), options.out)
    finally:
        database.close()
    console.print(
        f"{len(written)} files; open {escape(str(options.out / 'index.html'))}", soft_wrap=True
    )
    return 0
