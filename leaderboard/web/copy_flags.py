"""What pages and data say about policies that act like earlier ones."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from leaderboard.scores.near_copies import CopyFindings, NearCopy, Origin
from leaderboard.web.page_data import BoardRow

Flag = tuple[str, str]  # short name, and explanation
NOT_COMPARED: Flag = ("not compared", "its policies have not been compared with others yet")
_TOLD = {
    Origin.COPY: ("copy of {}", "policies act like those of submission {}, which came earlier"),
    Origin.RESUBMISSION: (
        "resubmission of {}",
        "policies act like those of submission {} of the same account",
    ),
    Origin.EARLIER_SEASON: (
        "also in an earlier season: {}",
        "policies act like those of submission {} of the same account; this costs no rank",
    ),
}


def copies_of(row: BoardRow) -> CopyFindings | None:
    """Return what a row's policies have in common with earlier ones, None if not compared."""
    return row.ranked.candidate.copies if row.ranked else None


def copy_flags(row: BoardRow) -> list[Flag]:
    """Return the flags of a scored row: near-copies among its policies, and of earlier rows."""
    if row.ranked is None or row.ranked.candidate.score is None:
        return []
    found = copies_of(row)
    if found is None:
        return [NOT_COMPARED]
    flags = []
    if found.copied:
        flags.append(
            (
                f"{found.copied} of {found.policies} policies are near-copies",
                f"they act like other policies, which leaves {found.distinct} distinct training"
                f"{'' if found.distinct == 1 else 's'}; so the row has no rank",
            )
        )
    for origin, (name, hint) in _TOLD.items():
        numbers = ", ".join(f"#{number}" for number in found.originals(origin))
        if numbers:
            flags.append((name.format(numbers), hint.format(numbers)))
    return flags


def originals_of(row: BoardRow) -> list[int]:
    """Return the other submissions whose policies those of a row act like."""
    found = copies_of(row)
    mine = row.submission.id
    return sorted({near.submission for near in found.near_copies} - {mine}) if found else []


def nearest_originals(row: BoardRow) -> list[NearCopy]:
    """Return for each near-copy its originals, at most one of each submission, the nearest."""
    found = copies_of(row)
    groups: dict[tuple[int, int], list[NearCopy]] = defaultdict(list)
    for near in found.near_copies if found else ():
        groups[near.position, near.submission].append(near)
    return [min(group, key=lambda near: near.distance) for group in groups.values()]


def copies_json(row: BoardRow | None) -> dict[str, Any]:
    """Return the same as names and values, for CSV: which rows, and how many policies."""
    found = copies_of(row) if row else None
    others = originals_of(row) if row else []
    return {
        "compared": None if row is None or row.ranked is None else found is not None,
        "near_copies": found.copied if found else None,
        "distinct_trainings": found.distinct if found else None,
        "originals": " ".join(map(str, others)) if found else None,
    }


def near_copies_json(row: BoardRow) -> list[dict[str, Any]]:
    """Return the near-copies of a row with their originals and distances, as JSON data."""
    return [
        {
            "policy": near.position,
            "original_submission": near.submission,
            "original_policy": near.original,
            "distance": float(f"{near.distance:.2g}"),
            "origin": near.origin.value,
        }
        for near in nearest_originals(row)
    ]
