"""Compares the policies of a submission with each other and with all earlier ones of its board."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import sqlalchemy as sa

from leaderboard.boards.board import board_of
from leaderboard.evaluation.fingerprints import (
    AskedPolicy,
    asked_policy,
    fingerprint_of,
    measured_distances,
)
from leaderboard.store.copy_store import (
    Fingerprint,
    NearPair,
    board_fingerprints,
    count_fingerprints,
    keep_comparison,
    next_to_compare,
    record_comparison,
)
from leaderboard.store.database import Database
from leaderboard.store.seasons import secret_of
from leaderboard.store.store_errors import StoreUnavailable
from leaderboard.store.submission_store import stored_submission
from leaderboard.store.tables import policy as stored

PAIRS_AT_ONCE = 500


def compare_submission(database: Database, number: int, actor: str | None = None) -> None:
    """Compare a submission's policies with each other and all others, and keep what was found.

    Args:
        database: the store.
        number: of the submission.
        actor: name for the audit log; None leaves the entry to the caller.

    Raises:
        PolicyFailed, PolicyRefused: if a policy fails.
        SandboxUnavailable: if no process for one could be started.
    """
    found = stored_submission(database, number)
    assert found is not None  # it is being evaluated, or was
    board = replace(board_of(found.env), version=found.board_version)
    with database.reading() as connection:
        secret = secret_of(connection, found.season)
        query = sa.select(stored).where(stored.c.submission_id == number)
        rows = connection.execute(query.order_by(stored.c.position)).all()
        expected = count_fingerprints(connection, board) + len(rows)
    with ExitStack() as stack:
        stochastic = found.metadata.stochastic
        policies = [
            stack.enter_context(
                asked_policy(board, bytes(row.content), stochastic, row.id, expected)
            )
            for row in rows
        ]
        made = [fingerprint_of(policy, secret) for policy in policies]
        is_kept = False
        while not is_kept:
            with database.reading() as connection:
                earlier = board_fingerprints(connection, board)
            mine = {each.policy_id for each in made}
            others = [each for each in earlier if each.policy_id not in mine]
            pairs = _near_pairs(policies, [*others, *made])
            with database.writing() as connection:
                known = {each.policy_id for each in others}
                is_kept = keep_comparison(connection, board, made, known, pairs)
                if is_kept and actor is not None:
                    record_comparison(connection, actor, number)


def compare_next(database: Database, actor: str, left_out: set[int]) -> int | None:
    """Compare a scored submission of an older store; return its number, None if none is left.

    Args:
        database: the store.
        actor: name for the audit log.
        left_out: submissions to pass over; one that cannot be compared is added.

    Raises:
        PolicyFailed, PolicyRefused: if a policy fails.
        SandboxUnavailable: if no process for one could be started.
        StoreUnavailable: if the store takes no changes; the submission is not left out then.
    """
    number = next_to_compare(database, left_out)
    if number is not None:
        left_out.add(number)
        try:
            compare_submission(database, number, actor)
        except StoreUnavailable:  # which says nothing about the submission
            left_out.discard(number)
            raise
        left_out.discard(number)
    return number


def _near_pairs(policies: Sequence[AskedPolicy], others: Sequence[Fingerprint]) -> list[NearPair]:
    """Return the near-copies among all pairs of one of the policies and one of the others."""
    found: dict[tuple[int, int], float] = {}
    for policy in policies:
        different = [each for each in others if each.policy_id != policy.policy_id]
        for start in range(0, len(different), PAIRS_AT_ONCE):
            part = different[start : start + PAIRS_AT_ONCE]
            measured = measured_distances(policy, part)
            for index in np.flatnonzero(measured.are_near):
                pair = _in_order(policy.policy_id, part[index].policy_id)
                distance = float(measured.behavior[index])
                found[pair] = min(found.get(pair, distance), distance)
    return [NearPair(later, earlier, distance) for (later, earlier), distance in found.items()]


def _in_order(first: int, second: int) -> tuple[int, int]:
    """Return the later and the earlier policy; numbers grow with the time of submission."""
    return max(first, second), min(first, second)
