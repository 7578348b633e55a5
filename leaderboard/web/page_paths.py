"""The paths of the pages, the same on a server and in a folder of files.

A path that does not match exactly has no page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.boards.board import Board
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.web.board_table import COLUMN_NAMES
from leaderboard.web.page_data import BoardPage, PageSource, ShownSeason

_NUMBER = r"[1-9][0-9]{0,8}"
_SLUG = r"[A-Za-z0-9][A-Za-z0-9._=-]{0,119}"
_BOARD = re.compile(rf"(?:boards|season/({_NUMBER}))/({_SLUG})/([a-z0-9-]+\.[a-z]+)", re.ASCII)
_SUBMISSION = re.compile(rf"submissions/({_NUMBER})\.html", re.ASCII)
_SEASON = re.compile(rf"season/({_NUMBER})\.html", re.ASCII)
_PAIR = re.compile(rf"compare/({_NUMBER})-({_NUMBER})\.html", re.ASCII)


@dataclass(frozen=True)
class BoardView:
    """A file in a board's folder."""

    file: str
    feasibility: Feasibility = Feasibility.MEAN
    column: str = "rank"  # that rows are sorted by


BOARD_VIEWS = {
    view.file: view
    for view in (
        BoardView("index.html"),
        BoardView("tails.html", Feasibility.P95),
        BoardView("environment.html"),
        BoardView("task.html"),
        BoardView("board.csv"),
        BoardView("board.json"),
        *(BoardView(f"sort-{name}.html", column=name) for name in COLUMN_NAMES),
        *(BoardView(f"tails-sort-{name}.html", Feasibility.P95, name) for name in COLUMN_NAMES),
    )
}


def to_root(path: str) -> str:
    """Return the relative path from a page to the top folder."""
    return "../" * path.count("/")


def current_season(source: PageSource) -> ShownSeason | None:
    """Return the newest season, None if there is none."""
    seasons = source.seasons()
    return seasons[-1] if seasons else None


def board_folder(board: Board, season: int, current: int) -> str:
    """Return a board's folder, with a slash at its end."""
    return f"boards/{board.slug}/" if season == current else f"season/{season}/{board.slug}/"


def submission_path(submission_id: int) -> str:
    """Return a submission's page."""
    return f"submissions/{submission_id}.html"


def season_path(number: int) -> str:
    """Return a season's page."""
    return f"season/{number}.html"


def compare_path(first: int, second: int) -> str:
    """Return the page that compares two submissions."""
    return f"compare/{first}-{second}.html"


def top_pairs(page: BoardPage, rows: int = 8) -> list[tuple[int, int]]:
    """Return the pairs among the first rows of a board, the better one first."""
    top = [row.submission.id for row in page.rows if row.ranked and row.ranked.rank is not None]
    top = top[:rows]
    return [(a, b) for index, a in enumerate(top) for b in top[index + 1 :]]


def find_board(path: str, source: PageSource) -> tuple[Board, ShownSeason, BoardView] | None:
    """Return the board, season and view of a path in a board's folder, None if there is none."""
    match = _BOARD.fullmatch(path)
    if match is None or match[3] not in BOARD_VIEWS:
        return None
    board = next((board for board in source.boards() if board.slug == match[2]), None)
    current = current_season(source)
    season = current if match[1] is None else _season(int(match[1]), source.seasons())
    if board is None or season is None or (match[1] is not None and season == current):
        return None
    return board, season, BOARD_VIEWS[match[3]]


def find_submission(path: str) -> int | None:
    """Return the submission whose page has this path, None if none has."""
    match = _SUBMISSION.fullmatch(path)
    return int(match[1]) if match else None


def find_season(path: str, source: PageSource) -> ShownSeason | None:
    """Return the season whose page has this path, None if none has."""
    match = _SEASON.fullmatch(path)
    return _season(int(match[1]), source.seasons()) if match else None


def find_pair(path: str) -> tuple[int, int] | None:
    """Return the two submissions that the page at a path compares, None if there are none."""
    match = _PAIR.fullmatch(path)
    if match is None or match[1] == match[2]:
        return None
    return int(match[1]), int(match[2])


def _season(number: int, seasons: Sequence[ShownSeason]) -> ShownSeason | None:
    return next((season for season in seasons if season.number == number), None)
