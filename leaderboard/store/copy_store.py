"""Keeps the fingerprints of policies, and which policies act like earlier ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from leaderboard.boards.board import Board
from leaderboard.policy_files.canonical_form import CanonicalForm
from leaderboard.scores.behavior import STATES
from leaderboard.scores.near_copies import CopyFindings, NearCopy, Origin
from leaderboard.store.audit import record
from leaderboard.store.database import Database
from leaderboard.store.submission_store import State
from leaderboard.store.tables import fingerprint, near_copy, policy, season, submission

VERSION = 1  # of the fingerprints; raise it when states or answers change: all are compared again


@dataclass(frozen=True)
class Fingerprint:
    """What a policy does on the states of a board that matter to it."""

    policy_id: int
    form: CanonicalForm
    states: np.ndarray  # (STATES, n) float32 flat observations
    answers: np.ndarray  # (STATES, numbers) float32, see `leaderboard.scores.behavior`


@dataclass(frozen=True)
class NearPair:
    """A policy, an earlier one that it acts like, and their distance."""

    policy_id: int
    original_id: int
    distance: float


def board_fingerprints(connection: sa.Connection, board: Board) -> list[Fingerprint]:
    """Return the fingerprints of all policies of a board, of all seasons."""
    query = _of(board, sa.select(fingerprint)).order_by(fingerprint.c.policy_id)
    return [
        Fingerprint(
            row.policy_id,
            CanonicalForm(row.canonical_sha256, row.skeleton_sha256, _numbers(row.weights)),
            _array(row.states),
            _array(row.answers),
        )
        for row in connection.execute(query)
    ]


def count_fingerprints(connection: sa.Connection, board: Board) -> int:
    """Return how many policies `board_fingerprints` would return."""
    return int(connection.execute(_of(board, sa.select(sa.func.count()))).scalar_one())


def keep_comparison(
    connection: sa.Connection,
    board: Board,
    made: Sequence[Fingerprint],
    compared_with: set[int],
    pairs: Sequence[NearPair],
) -> bool:
    """Keep fingerprints and pairs, unless others were kept meanwhile; return whether they were.

    Args:
        connection: writing.
        board: of the policies.
        made: the new fingerprints, of one submission.
        compared_with: policies whose fingerprints these were compared with.
        pairs: of near-copies that were found.
    """
    # One comparison at a time, so that no two policies miss each other.
    connection.execute(sa.select(season.c.number).with_for_update()).all()
    query = _of(board, sa.select(fingerprint.c.policy_id))
    mine = {each.policy_id for each in made}
    if set(connection.execute(query).scalars()) - mine != compared_with - mine:
        return False
    connection.execute(sa.delete(fingerprint).where(fingerprint.c.policy_id.in_(mine)))
    both = near_copy.c.policy_id.in_(mine) | near_copy.c.original_id.in_(mine)
    connection.execute(sa.delete(near_copy).where(both))
    rows = [
        {
            "policy_id": each.policy_id,
            "version": VERSION,
            "canonical_sha256": each.form.digest,
            "skeleton_sha256": each.form.skeleton,
            "weights": each.form.weights.astype("<f4").tobytes(),
            "states": each.states.astype("<f4").tobytes(),
            "answers": each.answers.astype("<f4").tobytes(),
        }
        for each in made
    ]
    connection.execute(sa.insert(fingerprint), rows)
    if pairs:
        connection.execute(sa.insert(near_copy), [vars(pair) for pair in pairs])
    return True


def next_to_compare(database: Database, left_out: set[int]) -> int | None:
    """Return the first scored submission with a policy without a fingerprint, None if none has.

    Args:
        database: the store.
        left_out: submissions to pass over.
    """
    query = (
        sa.select(submission.c.id)
        .select_from(submission.join(policy).outerjoin(fingerprint))
        .where(
            submission.c.state == State.SCORED.value,
            submission.c.id.not_in(left_out),
            sa.or_(fingerprint.c.version.is_(None), fingerprint.c.version != VERSION),
        )
        .order_by(submission.c.id)
        .limit(1)
    )
    with database.reading() as connection:
        return connection.execute(query).scalar_one_or_none()


def record_comparison(connection: sa.Connection, actor: str, number: int) -> None:
    """Make it known that pages have changed."""
    record(connection, actor, "compare", str(number))


def copy_findings(database: Database) -> dict[int, CopyFindings]:
    """Return the outcome for all submissions whose policies are all compared, by number."""
    with database.reading() as connection:
        counts = connection.execute(_policy_counts()).all()
        rows = connection.execute(_pairs()).all()
    found: dict[int, list[NearCopy]] = defaultdict(list)
    for row in rows:
        found[row.copy].append(
            NearCopy(row.position, row.submission, row.original, row.distance, _origin(row))
        )
    return {
        row.id: CopyFindings(row.policies, tuple(found[row.id]))
        for row in counts
        if row.policies == row.compared
    }


def _policy_counts() -> sa.Select:
    """Return a query for the number of policies of each submission, and of compared ones."""
    current = sa.case((fingerprint.c.version == VERSION, 1), else_=0)
    return (
        sa.select(
            policy.c.submission_id.label("id"),
            sa.func.count().label("policies"),
            sa.func.sum(current).label("compared"),
        )
        .select_from(policy.outerjoin(fingerprint))
        .group_by(policy.c.submission_id)
    )


def _pairs() -> sa.Select:
    later, earlier = policy.alias("later"), policy.alias("earlier")
    copy, original = submission.alias("copy"), submission.alias("original")
    return (
        sa.select(
            copy.c.id.label("copy"),
            later.c.position,
            original.c.id.label("submission"),
            earlier.c.position.label("original"),
            near_copy.c.distance,
            (copy.c.account_id == original.c.account_id).label("same_account"),
            (copy.c.season == original.c.season).label("same_season"),
        )
        .select_from(near_copy)
        .join(later, later.c.id == near_copy.c.policy_id)
        .join(earlier, earlier.c.id == near_copy.c.original_id)
        .join(copy, copy.c.id == later.c.submission_id)
        .join(original, original.c.id == earlier.c.submission_id)
        .order_by(copy.c.id, later.c.position, original.c.id, earlier.c.position)
    )


def _origin(row: sa.Row) -> Origin:
    if row.copy == row.submission:
        return Origin.OWN
    if not row.same_account:
        return Origin.COPY
    return Origin.RESUBMISSION if row.same_season else Origin.EARLIER_SEASON


def _of(board: Board, query: sa.Select[Any]) -> sa.Select[Any]:
    """Return a query restricted to the current fingerprints of a board, of all seasons."""
    return query.select_from(fingerprint.join(policy).join(submission)).where(
        submission.c.env == board.env,
        submission.c.board_version == board.version,
        fingerprint.c.version == VERSION,
    )


def _array(content: bytes) -> np.ndarray:
    return _numbers(content).reshape(STATES, -1)


def _numbers(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<f4")
