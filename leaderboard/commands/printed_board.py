"""A board on the terminal: its rows in the order of the ranking."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from baselines.report.terminal_table import name_columns, number_columns
from leaderboard.boards.board import Board
from leaderboard.store.accounts import BASELINES
from leaderboard.store.board_rows import StoredRow


def printed_board(board: Board, rows: Sequence[StoredRow]) -> Table:
    """Return a table of a board's rows: rank, tier, score and the cost nearest to its limit.

    Args:
        board: that is shown.
        rows: in the order of the ranking.
    """
    table = Table(title=escape(f"{board.env}: {board.title}"), title_justify="left")
    name_columns(table, "algorithm", "authors")
    number_columns(table, "rank", "tier", "score", "95 % interval", "cost", "95 % <=", "limit")
    for row in rows:
        names = (row.submission.metadata.algorithm, ", ".join(row.submission.metadata.authors))
        table.add_row(*map(escape, names), *_numbers(board, row))
    if any(row.submission.account == BASELINES for row in rows):
        table.caption = f"rows of {BASELINES!r} are baselines; one policy alone has no rank"
    return table


def _numbers(board: Board, row: StoredRow) -> list[str]:
    ranked = row.ranked
    if ranked is None or ranked.candidate.score is None:
        return ["-", row.submission.shown_state.value, *["-"] * 5]
    statistics = ranked.candidate.score.statistics
    score = statistics.score
    worst = max(
        zip(statistics.costs, board.cost_scales, strict=True),
        key=lambda pair: (pair[0].mean.value - pair[0].limit) / pair[1],
    )[0]
    return [
        "-" if ranked.rank is None else str(ranked.rank),
        ranked.tier.value,
        f"{score.value:.3f}",
        f"{score.low:.3f} to {score.high:.3f}",
        f"{worst.mean.value:.3g}",
        f"{worst.upper_bound:.3g}",
        f"{worst.limit:g}",
    ]
