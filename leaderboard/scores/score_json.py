"""A row's numbers as text and its draws as bytes, for the store; both read back bit for bit."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import BytesIO

import numpy as np

from leaderboard.scores.row_score import (
    STATISTICS_VERSION,
    CostStatistics,
    Interval,
    RowStatistics,
    ScoreDraws,
    Spans,
)


def statistics_to_json(statistics: RowStatistics) -> str:
    """Return statistics as one JSON object; floats read back equal.

    Raises:
        ValueError: if a number is NaN or infinite.
    """
    return json.dumps(asdict(statistics), allow_nan=False)


def statistics_from_json(text: str) -> RowStatistics:
    """Return the statistics that `statistics_to_json` wrote.

    Raises:
        ValueError: if the text has another version or is not such an object.
    """
    try:
        table = json.loads(text)
        version = table["version"]
    except (TypeError, KeyError, json.JSONDecodeError) as reason:
        raise _refusal(reason) from reason
    if version != STATISTICS_VERSION:
        raise ValueError(
            f"the statistics have version {version!r} but this program computes version "
            f"{STATISTICS_VERSION}; score the stored episodes again"
        )
    try:
        return _statistics(table)
    except (TypeError, KeyError, AttributeError) as reason:
        raise _refusal(reason) from reason


def draws_to_bytes(draws: ScoreDraws) -> bytes:
    """Return draws as a file in NumPy's format: little-endian float64, shape (3, resamples)."""
    rows = np.stack([draws.score, draws.excess, draws.excess_p95]).astype("<f8")
    buffer = BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def draws_from_bytes(content: bytes) -> ScoreDraws:
    """Return the draws that `draws_to_bytes` wrote; pickled content is refused.

    Raises:
        ValueError: if the content is damaged or something else.
    """
    try:
        rows = np.lib.format.read_array(BytesIO(content), allow_pickle=False)
    except ValueError as reason:
        raise ValueError(
            f"the draws cannot be read: {reason}; they are a NumPy array without pickled "
            "objects; score the stored episodes again"
        ) from reason
    if rows.ndim != 2 or len(rows) != 3 or rows.dtype != "<f8":
        raise ValueError(
            f"the draws are {rows.dtype} of shape {rows.shape}; they are float64 of shape "
            "(3, resamples); score the stored episodes again"
        )
    score, excess, excess_p95 = rows
    return ScoreDraws(score=score, excess=excess, excess_p95=excess_p95)


def _statistics(table: dict) -> RowStatistics:
    read: dict = {name: Interval(**table[name]) for name in ("score", "mean_return")}
    for name in ("seed_returns", "seed_lengths", "return_quantiles", "length_spans"):
        read[name] = tuple(table[name])
    read["spans"] = _spans(table["spans"])
    read["costs"] = tuple(_cost_statistics(cost) for cost in table["costs"])
    return RowStatistics(**(table | read))


def _cost_statistics(table: dict) -> CostStatistics:
    names = ("mean", "p90", "p95", "cvar", "violation_probability")
    read: dict = {name: Interval(**table[name]) for name in names}
    for name in ("seed_means", "quantiles"):
        read[name] = tuple(table[name])
    read["spans"] = _spans(table["spans"])
    return CostStatistics(**(table | read))


def _spans(table: dict | None) -> Spans | None:
    return None if table is None else Spans(tuple(table["values"]), tuple(table["plain"]))


def _refusal(reason: Exception) -> ValueError:
    return ValueError(
        f"the stored statistics cannot be read ({type(reason).__name__}: {reason}); expected is "
        "what statistics_to_json writes; score the stored episodes again"
    )
