"""Keeps and reads the scores of submissions; outdated ones are computed again.

Reading a score writes nothing: an outdated one is computed again in memory, until a worker starts
and renews what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from leaderboard.boards.board import board_of, boards
from leaderboard.scores.row_score import STATISTICS_VERSION, RowScore
from leaderboard.scores.score_json import (
    draws_from_bytes,
    draws_to_bytes,
    statistics_from_json,
    statistics_to_json,
)
from leaderboard.scores.scoring import score_row
from leaderboard.store.database import Database
from leaderboard.store.episode_store import scored_episodes
from leaderboard.store.seasons import HIDDEN
from leaderboard.store.tables import result, submission


def keep_score(connection: sa.Connection, number: int, score: RowScore) -> None:
    """Keep the score of a submission that has none yet."""
    connection.execute(sa.insert(result).values(submission_id=number, **_columns(score)))


def row_scores(database: Database, ids: Sequence[int]) -> dict[int, RowScore]:
    """Return the scores of the submissions that have one, by number."""
    query = sa.select(result).where(result.c.submission_id.in_(ids))
    with database.reading() as connection:
        rows = connection.execute(query).all()
    current = [row for row in rows if row.statistics_version == STATISTICS_VERSION]
    scores = {
        row.submission_id: RowScore(
            statistics_from_json(row.statistics), draws_from_bytes(row.draws)
        )
        for row in current
    }
    stale = {row.submission_id for row in rows} - set(scores)
    return scores | {number: _computed_again(database, number) for number in stale}


def renew_scores(database: Database) -> int:
    """Compute the outdated scores again, keep them, and return how many there were."""
    query = sa.select(result.c.submission_id).join(submission)
    query = query.where(
        result.c.statistics_version != STATISTICS_VERSION, submission.c.env.in_(boards())
    )
    with database.reading() as connection:
        stale = connection.execute(query).scalars().all()
    for number in stale:
        columns = _columns(_computed_again(database, number))
        change = sa.update(result).where(result.c.submission_id == number).values(**columns)
        with database.writing() as connection:
            connection.execute(change)
    return len(stale)


def _computed_again(database: Database, number: int) -> RowScore:
    with database.reading() as connection:
        env = connection.execute(sa.select(submission.c.env).filter_by(id=number)).scalar_one()
        episodes = scored_episodes(connection, number, HIDDEN)
    return score_row(board_of(env), episodes)


def _columns(score: RowScore) -> dict[str, Any]:
    return {
        "statistics_version": score.statistics.version,
        "statistics": statistics_to_json(score.statistics),
        "draws": draws_to_bytes(score.draws),
    }
