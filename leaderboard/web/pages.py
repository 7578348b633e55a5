"""Renders the leaderboard's pages from a path and a source of data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from baselines.site.shared_files import PAGE_POLICY, files_under, script_json
from baselines.site.shared_files import STATIC as SHARED
from leaderboard.boards.board import EPISODES_PER_POLICY, Board
from leaderboard.scores.published import is_withheld
from leaderboard.scores.ranked_row import Feasibility
from leaderboard.web import board_table, chart_data, copy_flags, page_paths, safe_text
from leaderboard.web.chart import Chart, charts_json
from leaderboard.web.comparison import compare
from leaderboard.web.page_data import BoardPage, PageSource, ShownSeason, ShownSubmission
from leaderboard.web.page_paths import BoardView
from leaderboard.web.task_text import task_page

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
HTML = "text/html; charset=utf-8"
STATIC_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
}

CONTENT_SECURITY_POLICY = f"{PAGE_POLICY}; frame-ancestors 'none'"
"""The policy in a server's header: also, no other page may frame this one."""


@dataclass(frozen=True)
class Page:
    """A file of the site."""

    content: bytes
    media_type: str


def render(path: str, source: PageSource, *, static: bool = False) -> Page | None:
    """Return the page at a path, None if there is none.

    Args:
        path: relative to the top of the site, such as "boards/Safe_CliffWorld-v0/index.html".
        source: where the data comes from.
        static: leave out the forms, which need a server.
    """
    if path.startswith("static/"):
        return _static_file(path)
    view = page_paths.find_board(path, source)
    if view is not None:
        return _board(path, source, static, *view)
    shared = _shared(path, source, static)
    content = _fixed_page(path, source, shared) or _numbered_page(path, source, shared)
    return None if content is None else Page(content.encode(), HTML)


def render_error(status: int, title: str, text: str, path: str) -> str:
    """Return the page that says what went wrong with a request; no store is needed for it.

    Args:
        status: of HTTP.
        title: of the page.
        text: what went wrong, and what the visitor can do.
        path: of the request, relative to the top of the site.
    """
    shared = {
        "root": page_paths.to_root(path), "path": "", "policy": PAGE_POLICY, "static": False,
        "season": None,
    }  # fmt: skip
    return _fill("error", shared, status=status, heading=title, text=text)


@cache
def static_files() -> dict[str, Path]:
    """Return the files that pages load, by their path on the site."""
    suffixes = tuple(STATIC_TYPES)
    found = files_under(SHARED, suffixes) | files_under(STATIC, suffixes)
    return {f"static/{path}": file for path, file in sorted(found.items())}


def picture_of(board: Board) -> str:
    """Return the path of a board's picture, empty if it has none; see docs/board_pictures.py."""
    path = f"static/tasks/{board.slug}.webp"
    return path if path in static_files() else ""


def _static_file(path: str) -> Page | None:
    file = static_files().get(path)
    if file is None:
        return None
    return Page(file.read_bytes(), STATIC_TYPES[file.suffix])


def _fixed_page(path: str, source: PageSource, shared: dict[str, Any]) -> str | None:
    """Return a page that exists once, None if the path is another."""
    season: ShownSeason | None = shared["season"]
    if path == "index.html":
        pages = [
            source.board_page(board.env, season.number, Feasibility.MEAN)
            for board in (source.boards() if season else ())
            if season
        ]
        return _fill("index", shared, pages=pages, boards=source.boards())
    if path == "season/index.html":
        return _fill("seasons", shared, seasons=list(reversed(source.seasons())))
    if path == "how-to-submit.html":
        rules = source.submission_rules()
        return _fill("how_to_submit", shared, rules=rules, boards=source.boards())
    if path == "aggregate.html" and season is not None:
        return _fill("aggregate", shared, page=source.aggregate_page(season.number))
    return None


def _numbered_page(path: str, source: PageSource, shared: dict[str, Any]) -> str | None:
    """Return the page of a season, a submission or a pair of them."""
    number = page_paths.find_submission(path)
    if number is not None:
        return _submission(number, source, shared)
    season = page_paths.find_season(path, source)
    if season is not None:
        return _fill("season", shared, shown_season=season, boards=source.boards())
    pair = page_paths.find_pair(path)
    if pair is None:
        return None
    first, second = (source.submission_page(number) for number in pair)
    if first is None or second is None:
        return None
    comparison = compare(first, second, source.score_difference(*pair))
    if comparison is None:
        return None
    return _fill("compare", shared, page=comparison, charts=chart_data.compare_charts(comparison))


def _submission(number: int, source: PageSource, shared: dict[str, Any]) -> str | None:
    page = source.submission_page(number)
    if page is None:
        return None
    rivals = source.board_page(page.board.env, page.season.number, Feasibility.MEAN)
    return _fill(
        "submission",
        shared,
        page=page,
        statistics=board_table.statistics_of(page.row),
        charts=chart_data.submission_charts(page),
        rivals=_rivals(number, rivals, only_top=shared["static"]),
    )


def _rivals(
    number: int, page: BoardPage, *, only_top: bool
) -> list[tuple[tuple[int, int], ShownSubmission]]:
    """Return the pairs of a submission with first rows of its board, and the other submissions.

    Args:
        number: of the submission.
        page: its board.
        only_top: leave out pairs that no board links to; a static site has no file for them.
    """
    submissions = {row.submission.id: row.submission for row in page.rows}
    pairs = page_paths.top_pairs(page)
    found = [pair for pair in pairs if number in pair]
    if not found and not only_top:
        found = [(row.submission.id, number) for row in chart_data.top_rows(page)]
    others = [(pair, pair[0] if pair[1] == number else pair[1]) for pair in found]
    return [(pair, submissions[other]) for pair, other in others if other != number]


def _board(
    path: str, source: PageSource, static: bool, board: Board, season: ShownSeason, view: BoardView
) -> Page:
    page = source.board_page(board.env, season.number, view.feasibility)
    if view.file == "board.csv":
        return Page(board_table.board_csv(page).encode(), "text/csv; charset=utf-8")
    if view.file == "board.json":
        return Page(board_table.board_json(page).encode(), "application/json")
    shared = _shared(path, source, static) | {"page": page, "view": view}
    if view.file == "environment.html":
        charts = _environment_charts(page, source)
        return Page(_fill("environment", shared, charts=charts).encode(), HTML)
    if view.file == "task.html":
        return Page(_fill("task", shared, text=task_page(board.env)).encode(), HTML)
    ranked = [row for row in page.rows if board_table.is_ranked(row)]
    others = [row for row in page.rows if not board_table.is_ranked(row)]
    rows = {row.submission.id: row for row in ranked}
    content = _fill(
        "board",
        shared,
        ranked=board_table.sorted_rows(page.board, ranked, view.column),
        others=board_table.sorted_rows(page.board, others, view.column),
        pairs=[(rows[a], rows[b]) for a, b in page_paths.top_pairs(page)],
        charts=chart_data.board_charts(page),
    )
    return Page(content.encode(), HTML)


def _environment_charts(page: BoardPage, source: PageSource) -> Sequence[Chart]:
    top = [row.submission.id for row in chart_data.top_rows(page)]
    return chart_data.environment_charts(page, source.curves(top))


def _shared(path: str, source: PageSource, static: bool) -> dict[str, Any]:
    """Return the data that the layout needs on every page."""
    season = page_paths.current_season(source)
    current = season.number if season else 0
    return {
        "root": page_paths.to_root(path),
        "path": path,
        "policy": PAGE_POLICY,
        "static": static,
        "season": season,
        "board_folder": lambda board, number: page_paths.board_folder(board, number, current),
    }


def _fill(name: str, shared: dict[str, Any], **data: Any) -> str:
    return _environment().get_template(f"{name}.html.jinja").render(shared | data)


def _pretty_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=safe_text.shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        short=safe_text.short,
        given=safe_text.given,
        signed=safe_text.signed,
        percent=safe_text.percent,
        whole=safe_text.whole,
        duration=safe_text.duration,
        day=safe_text.day,
        clipped=safe_text.clipped,
        https_link=safe_text.https_link,
        script_json=script_json,
        pretty_json=_pretty_json,
    )
    environment.tests["withheld"] = is_withheld
    environment.globals.update(
        COLUMNS=board_table.COLUMNS,
        EPISODES=EPISODES_PER_POLICY,
        statistics_of=board_table.statistics_of,
        status_of=board_table.status_of,
        flags_of=board_table.flags_of,
        stated_flags=board_table.stated_flags,
        copy_flags=copy_flags.copy_flags,
        originals_of=copy_flags.originals_of,
        nearest_originals=copy_flags.nearest_originals,
        versions_of=board_table.versions_of,
        picture_of=picture_of,
        submission_path=page_paths.submission_path,
        season_path=page_paths.season_path,
        compare_path=page_paths.compare_path,
        charts_json=charts_json,
    )
    return environment
