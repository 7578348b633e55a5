"""The command `export`: writes the pages as files that open without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from leaderboard.scores.ranked_row import Feasibility
from leaderboard.store.database import embedded_url, open_database
from leaderboard.web.page_data import PageSource
from leaderboard.web.page_paths import (
    BOARD_VIEWS,
    board_folder,
    compare_path,
    current_season,
    season_path,
    submission_path,
    top_pairs,
)
from leaderboard.web.pages import render, static_files
from leaderboard.web.store_source import StoreSource


@dataclass(frozen=True)
class ExportOptions:
    """Write all pages as files; index.html opens from the disk, without a network."""

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


def write_site(source: PageSource, folder: Path) -> list[Path]:
    """Write all pages into a folder and return the files.

    Files of an earlier export are not removed; pass a new folder to avoid them.

    Raises:
        ValueError: if a page that the site links to cannot be rendered.
    """
    written = []
    for path in site_paths(source):
        page = render(path, source, static=True)
        if page is None:
            raise ValueError(
                f"{path} cannot be rendered; the store changed while pages were written; try again"
            )
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(page.content)
        written.append(file)
    return written


def site_paths(source: PageSource) -> Iterator[str]:
    """Yield the path of every file of the site; only the first rows have comparisons."""
    yield from ("index.html", "how-to-submit.html", "season/index.html")
    yield from static_files()
    current = current_season(source)
    if current is not None:
        yield "aggregate.html"
        yield from _season_paths(source, current.number)
    yield from (submission_path(number) for number in source.submission_ids())


def _season_paths(source: PageSource, current: int) -> Iterator[str]:
    """Yield the paths of seasons, their boards and their comparisons."""
    for season in source.seasons():
        yield season_path(season.number)
        for board in source.boards():
            folder = board_folder(board, season.number, current)
            yield from (folder + file for file in BOARD_VIEWS)
            page = source.board_page(board.env, season.number, Feasibility.MEAN)
            tails = source.board_page(board.env, season.number, Feasibility.P95)
            pairs = dict.fromkeys([*top_pairs(page), *top_pairs(tails)])
            yield from (compare_path(*pair) for pair in pairs)
