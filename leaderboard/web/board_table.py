"""The columns of a board: their content and sort order, and the same table as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from leaderboard.boards.board import RANKED_POLICIES, Board
from leaderboard.scores.published import PublishedStatistics, is_withheld, numbers_of
from leaderboard.scores.ranked_row import Tier
from leaderboard.scores.row_score import CostStatistics, RowStatistics
from leaderboard.store.submission_store import State
from leaderboard.submissions.metadata import Metadata
from leaderboard.web.copy_flags import copies_json, copy_flags, near_copies_json
from leaderboard.web.page_data import BoardPage, BoardRow
from leaderboard.web.safe_text import csv_cell, day

TIERS = list(Tier)
SUITE = "safe-envs"
FLAGS = {
    "is_baseline": ("baseline", "was submitted by this project, to compare with"),
    "uses_safety_filter": ("filter", "an action filter is part of the policy"),
    "uses_model": ("model", "used the environment's equations or tables"),
    "uses_demonstrations": ("demos", "was trained with demonstrations"),
    "uses_preprocessing": ("preprocessing", "changes observations or actions inside the file"),
    "stochastic": ("stochastic", "samples its actions"),
}
Key = float | str


@dataclass(frozen=True)
class Column:
    """One column; `key` returns the value it sorts by, None if the row has none."""

    name: str  # in addresses
    head: str
    key: Callable[[Board, BoardRow], Key | None]
    descending: bool = False  # largest or newest first
    hint: str = ""
    text: bool = False  # left-aligned


def statistics_of(row: BoardRow) -> PublishedStatistics | None:
    """Return a row's public numbers, None if it has none; NaN is withheld."""
    return None if row.ranked is None else numbers_of(row.ranked)


def flags_of(row: BoardRow) -> list[tuple[str, str]]:
    """Return the flags of a row: short names with explanations."""
    return stated_flags(row) + copy_flags(row)


def stated_flags(row: BoardRow) -> list[tuple[str, str]]:
    """Return the flags that the submitter states."""
    metadata = row.submission.metadata
    on = {
        "is_baseline": row.submission.is_baseline,
        "uses_safety_filter": metadata.uses_safety_filter,
        "uses_model": metadata.uses_model,
        "uses_demonstrations": metadata.uses_demonstrations,
        "uses_preprocessing": metadata.uses_preprocessing,
        "stochastic": metadata.stochastic,
    }
    return [FLAGS[name] for name, is_on in on.items() if is_on]


def _number(read: Callable[[RowStatistics], float]) -> Callable[[Board, BoardRow], Key | None]:
    def key(board: Board, row: BoardRow) -> Key | None:
        found = statistics_of(row)
        return read(found) if found else None

    return key


def _cost(read: Callable[[CostStatistics], float]) -> Callable[[Board, BoardRow], Key | None]:
    """Return the sort key of a cost; of several constraints, the one furthest above its limit."""

    def key(board: Board, row: BoardRow) -> Key | None:
        found = statistics_of(row)
        if found is None or any(is_withheld(read(cost)) for cost in found.costs):
            return None
        if len(found.costs) == 1:
            return read(found.costs[0])
        return max(
            (read(cost) - cost.limit) / scale
            for cost, scale in zip(found.costs, board.cost_scales, strict=True)
        )

    return key


def _rank(board: Board, row: BoardRow) -> Key | None:
    return row.ranked.rank if row.ranked else None


def _tier(board: Board, row: BoardRow) -> Key | None:
    return TIERS.index(row.ranked.tier) if row.ranked else None


def _violation(found: RowStatistics) -> float:
    return max(cost.violation_probability.value for cost in found.costs)


COLUMNS = (
    Column("rank", "Rank", _rank, hint="place, with its 95 % interval in parentheses"),
    Column(
        "tier",
        "Tier",
        _tier,
        hint="safe: the 95 % upper bound of the mean cost is within the limit; feasible: the mean "
        "is; violating: it is not",
        text=True,
    ),
    Column(
        "algorithm",
        "Algorithm",
        lambda board, row: row.submission.metadata.algorithm.casefold(),
        hint="with its authors, and flags that say what else is in the policy or its training",
        text=True,
    ),
    Column(
        "score",
        "Score",
        _number(lambda found: found.score.value),
        descending=True,
        hint="interquartile mean over seeds of the normalized return, with its 95 % interval",
    ),
    Column(
        "return",
        "Return",
        _number(lambda found: found.mean_return.value),
        descending=True,
        hint="mean; below it, the undiscounted sum where the board discounts",
    ),
    Column(
        "cost",
        "Cost",
        _cost(lambda cost: cost.mean.value),
        hint="mean; below it, its one-sided 95 % upper bound, and the undiscounted sum where the "
        "board discounts",
    ),
    Column("p95", "P95", _cost(lambda cost: cost.p95.value), hint="95th percentile of the cost"),
    Column(
        "worst",
        "Worst",
        _cost(lambda cost: cost.worst),
        hint="largest cost of an episode, withheld until the season's secret is revealed; "
        "comparable only at equal numbers of episodes",
    ),
    Column("cvar", "CVaR", _cost(lambda cost: cost.cvar.value), hint="mean cost of the worst 5 %"),
    Column(
        "violations",
        "Over limit",
        _number(_violation),
        hint="share of episodes whose cost is above the limit",
    ),
    Column(
        "seeds",
        "Seeds",
        lambda board, row: len(row.submission.metadata.training_seeds),
        descending=True,
        hint="training seeds, with one policy each",
    ),
    Column(
        "steps",
        "Steps",
        lambda board, row: row.submission.metadata.training_steps,
        hint="training steps of one policy",
    ),
    Column(
        "date",
        "Date",
        lambda board, row: row.submission.submitted_at,
        descending=True,
        hint="of the submission, in UTC",
        text=True,
    ),
)
COLUMN_NAMES = tuple(column.name for column in COLUMNS)


def versions_of(metadata: Metadata) -> list[str]:
    """Return the names and versions of what a submission was trained with, each once."""
    found, suite = dict(metadata.framework_versions), metadata.suite_version
    if suite:
        name = SUITE if found.get(SUITE, suite) == suite else f"{SUITE} of the run"
        found = {name: suite, **found}
    return [f"{name} {version}" for name, version in found.items()]


def is_ranked(row: BoardRow) -> bool:
    """Return whether a row has a rank."""
    return row.ranked is not None and row.ranked.rank is not None


def status_of(row: BoardRow) -> str:
    """Return why a row has no rank, empty if it has one."""
    if is_ranked(row):
        return ""
    if row.submission.state is not State.SCORED:
        return row.submission.state.value
    if row.ranked is None or not row.ranked.preview:
        return "unranked"
    full = len(row.submission.metadata.training_seeds) >= RANKED_POLICIES
    return "near-copies" if full else "preview"


def sorted_rows(board: Board, rows: Sequence[BoardRow], name: str) -> list[BoardRow]:
    """Return the rows sorted by a column, best first; rows without a value stay last."""
    column = COLUMNS[COLUMN_NAMES.index(name)]
    known = [(key, row) for row in rows if (key := column.key(board, row)) is not None]
    known.sort(key=lambda pair: pair[0], reverse=column.descending)
    return [row for _, row in known] + [row for row in rows if column.key(board, row) is None]


def board_csv(page: BoardPage) -> str:
    """Return all rows as CSV with a header, with every public digit; withheld cells are empty."""
    out = io.StringIO()
    records = [flat_record(page.board, row) for row in page.rows]
    names = list(flat_record(page.board, None))
    writer = csv.DictWriter(out, names, lineterminator="\r\n")
    writer.writeheader()
    for record in map(_finite, records):
        writer.writerow({name: csv_cell(record[name]) for name in names})
    return out.getvalue()


def board_json(page: BoardPage) -> str:
    """Return the board and all its rows as JSON; numbers that are not finite become null."""
    data = {
        "env": page.board.env,
        "title": page.board.title,
        "version": page.board.version,
        "season": page.season.number,
        "secret_sha256": page.season.secret_sha256,
        "feasibility": page.feasibility.value,
        "reward_discount": page.board.reward_discount,
        "random_return": page.board.random_return,
        "reference_return": page.board.reference_return,
        "constraints": [
            {"name": c.name, "limit": c.limit, "discount": c.discount}
            for c in page.board.constraints
        ],
        "rows": [
            flat_record(page.board, row)
            | {"near_copies_of": near_copies_json(row)}
            | {"metadata": row.submission.metadata.model_dump(mode="json", exclude={"contact"})}
            for row in page.rows
        ],
    }
    return json.dumps(_finite(data), indent=1, allow_nan=False)


def flat_record(board: Board, row: BoardRow | None) -> dict[str, Any]:
    """Return one row as names and values; without a row all values are None."""
    found = statistics_of(row) if row else None
    ranked = row.ranked if row else None
    low, high = (ranked.rank_interval if ranked else None) or (None, None)
    submission = row.submission if row else None
    metadata = submission.metadata if submission else None
    record: dict[str, Any] = {
        "rank": ranked.rank if ranked else None,
        "rank_low": low,
        "rank_high": high,
        "tier": ranked.tier.value if ranked else None,
        "state": submission.state.value if submission else None,
        "preview": ranked.preview if ranked else None,
        "submission": submission.id if submission else None,
        "algorithm": metadata.algorithm if metadata else None,
        "authors": "; ".join(metadata.authors) if metadata else None,
        "date": day(submission.submitted_at) if submission else None,
        "seeds": len(metadata.training_seeds) if metadata else None,
        "training_steps": metadata.training_steps if metadata else None,
        "flags": " ".join(name for name, _ in stated_flags(row)) if row else None,
        **copies_json(row),
        "episodes": found.policies * found.episodes if found else None,
        "score": found.score.value if found else None,
        "score_low": found.score.low if found else None,
        "score_high": found.score.high if found else None,
        "return": found.mean_return.value if found else None,
        "return_low": found.mean_return.low if found else None,
        "return_high": found.mean_return.high if found else None,
        "plain_return": found.plain_mean_return if found else None,
        "length": found.mean_length if found else None,
    }
    for index, constraint in enumerate(board.constraints):
        cost = found.costs[index] if found else None
        record |= _cost_record(f"cost_{constraint.name}", constraint.limit, cost)
    return record


def _cost_record(name: str, limit: float, cost: CostStatistics | None) -> dict[str, Any]:
    return {
        f"{name}_limit": limit,
        f"{name}_mean": cost.mean.value if cost else None,
        f"{name}_low": cost.mean.low if cost else None,
        f"{name}_high": cost.mean.high if cost else None,
        f"{name}_upper_bound": cost.upper_bound if cost else None,
        f"{name}_p90": cost.p90.value if cost else None,
        f"{name}_p95": cost.p95.value if cost else None,
        f"{name}_p95_upper_bound": cost.p95_upper_bound if cost else None,
        f"{name}_worst": cost.worst if cost else None,
        f"{name}_cvar": cost.cvar.value if cost else None,
        f"{name}_violation_probability": cost.violation_probability.value if cost else None,
        f"{name}_plain_mean": cost.plain_mean if cost else None,
    }


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
