"""A submission on the terminal: what is sent, and measured numbers next to claimed ones."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from baselines.report.terminal_table import name_columns, number_columns
from leaderboard.boards.board import RANKED_POLICIES, Board
from leaderboard.scores.published import PublishedStatistics, is_withheld
from leaderboard.scores.ranked_row import RankedRow
from leaderboard.scores.row_score import Interval
from leaderboard.submissions.metadata import Claim
from leaderboard.submissions.submission import Submission


def contents_table(submission: Submission) -> Table:
    """Return a table of what is sent."""
    metadata = submission.metadata
    count = len(submission.policies)
    size = sum(map(len, submission.policies))
    seeds = ", ".join(map(str, metadata.training_seeds))
    table = Table(title="Submission", show_header=False, title_justify="left")
    name_columns(table, "", "")
    rows = {
        "environment": f"{metadata.env}, board version {submission.board.version}",
        "algorithm": metadata.algorithm,
        "authors": ", ".join(metadata.authors),
        "policies": f"{count} files, {size:,} bytes; training seeds {seeds}",
        "training": f"{metadata.training_steps:,} steps each",
        "actions": "sampled" if metadata.stochastic else "most likely",
        "learning curves": f"{len(submission.curves)}" if submission.curves else "none",
        "shown as": "ranked row" if count >= RANKED_POLICIES else "preview without a rank",
    }
    for name, text in rows.items():
        table.add_row(name, escape(text))
    if count < RANKED_POLICIES:
        table.caption = f"a rank needs {RANKED_POLICIES} training seeds"
    return table


def score_table(board: Board, statistics: PublishedStatistics, claim: Claim | None) -> Table:
    """Return a table of the measured numbers next to the claimed ones."""
    table = Table(
        title=f"{statistics.policies} policies, {statistics.episodes} episodes each",
        title_justify="left",
    )
    claimed_as = "claimed, exact" if claim is not None and claim.exact else "claimed"
    name_columns(table, "")
    number_columns(table, claimed_as, "measured", "95 % interval", "limit")
    claimed = "" if claim is None else _number(claim.mean_return)
    table.add_row("return", claimed, *_measured(statistics.mean_return), "")
    table.add_row("score", "", *_measured(statistics.score), "")
    claims: Sequence[float | None] = claim.mean_costs if claim else [None] * len(statistics.costs)
    for cost, told in zip(statistics.costs, claims, strict=True):
        name = escape(cost.name)
        shown = "" if told is None else _number(told)
        table.add_row(f"cost {name}", shown, *_measured(cost.mean), _number(cost.limit))
        table.add_row("  P95", "", *_measured(cost.p95), "")
        table.add_row("  P(cost > limit)", "", *_measured(cost.violation_probability), "")
        table.add_row("  worst", "", _number(cost.worst), "", "")
    table.caption = _discounts(board)
    return table


def told_copies(ranked: RankedRow) -> list[str]:
    """Return a line for each of a row's policies that acts like an earlier one."""
    found = ranked.candidate.copies
    lines = [
        f"policy {near.position} acts like policy {near.original} of submission {near.submission}"
        f" (distance {near.distance:.2g})"
        for near in (found.near_copies if found else ())
    ]
    if found and found.copied:
        lines.append(
            f"{found.copied} of {found.policies} policies are near-copies; a row with near-copies "
            "has no rank"
        )
    return lines


def _discounts(board: Board) -> str:
    costs = sorted({constraint.discount for constraint in board.constraints})
    if board.reward_discount == 1.0 and costs == [1.0]:
        return "undiscounted sums over an episode"
    return f"discounted as declared: reward {board.reward_discount:g}, costs {costs}"


def _measured(interval: Interval) -> tuple[str, str]:
    if is_withheld(interval.value):
        return _number(interval.value), ""
    return _number(interval.value), f"{_number(interval.low)} to {_number(interval.high)}"


def _number(value: float) -> str:
    if is_withheld(value):
        return "withheld"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
