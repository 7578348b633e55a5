"""Keeps and reads the scores of submissions; outdated ones are computed again.

Reading a score writes nothing: an outdated one is computed again in memory, until a worker starts
and renews what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from leaderboard.boards.board import boards
from leaderboard.scores.row_score import STATISTICS_VERSION, RowScore
from leaderboard.scores.score_json import (
    draws_from_bytes,
    draws_to_bytes,
    statistics_from_json,
    statistics_to_json,
)
from leaderboard.scores.scoring import score_row
from leaderboard.store.audit import record
from leaderboard.store.database import Database
from leaderboard.store.database_clock import now
from leaderboard.store.episode_store import scored_episodes
from leaderboard.store.seasons import HIDDEN
from leaderboard.store.submission_store import State, no_submission, other_board
from leaderboard.store.tables import result, submission


def keep_score(connection: sa.Connection, number: int, score: RowScore) -> None:
    """Keep the score of a submission that has none yet."""
    connection.execute(sa.insert(result).values(submission_id=number, **_columns(score)))


def row_scores(database: Database, ids: Sequence[int]) -> dict[int, RowScore]:
    """Return the scores of the submissions that have one, by number.

    Statistics of another version, or that cannot be read, are computed again from the episodes.
    This writes nothing, see `rescore`. What this release cannot compute is left out.
    """
    query = sa.select(result).where(result.c.submission_id.in_(ids))
    scores = {}
    with database.reading() as connection:
        for row in connection.execute(query).all():
            with suppress(ValueError):
                scores[row.submission_id] = _read(connection, row)
    return scores


def rescore(database: Database, number: int, actor: str, reason: str) -> bool:
    """Compute a submission's statistics again from its episodes; return whether they changed.

    Args:
        database: the store.
        number: of the submission.
        actor: name for the audit log.
        reason: shown on the submission's page if they changed.

    Raises:
        ValueError: if it is not scored, or to a board that this release does not have.
    """
    with database.writing() as connection:
        query = sa.select(submission).where(submission.c.id == number).with_for_update()
        found = connection.execute(query).one_or_none()
        if found is None:
            raise ValueError(no_submission(number))
        if found.state != State.SCORED.value:
            raise ValueError(
                f"submission {number} is {found.state}; only scored ones have statistics; requeue "
                "evaluates failed and invalid ones again"
            )
        this = result.c.submission_id == number
        kept = connection.execute(sa.select(result).where(this)).one()
        columns = _columns(_computed(connection, number))
        if all(kept._mapping[name] == value for name, value in columns.items()):
            return False
        connection.execute(sa.update(result).where(this).values(**columns))
        changed = sa.update(submission).where(submission.c.id == number)
        connection.execute(changed.values(scored_at=now(connection)))
        record(connection, actor, "rescore", str(number), reason)
        return True


def scored_submissions(database: Database) -> list[int]:
    """Return the numbers of all submissions that have a score."""
    query = sa.select(result.c.submission_id).order_by(result.c.submission_id)
    with database.reading() as connection:
        return list(connection.execute(query).scalars())


def _read(connection: sa.Connection, row: sa.Row) -> RowScore:
    if row.statistics_version == STATISTICS_VERSION:
        with suppress(ValueError):
            return RowScore(statistics_from_json(row.statistics), draws_from_bytes(row.draws))
    return _computed(connection, row.submission_id)


def _computed(connection: sa.Connection, number: int) -> RowScore:
    """Return the score of a submission's episodes.

    Raises:
        ValueError: if it is to a board that this release does not have.
    """
    query = sa.select(submission.c.env, submission.c.board_version).filter_by(id=number)
    env, version = connection.execute(query).one()
    board = boards().get(env)
    if board is None or board.version != version:
        raise ValueError(other_board(number, env, version))
    return score_row(board, scored_episodes(connection, number, HIDDEN))


def _columns(score: RowScore) -> dict[str, Any]:
    return {
        "statistics_version": score.statistics.version,
        "statistics": statistics_to_json(score.statistics),
        "draws": draws_to_bytes(score.draws),
    }
