"""Keeps every submission exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from leaderboard.store.audit import record
from leaderboard.store.database import Database
from leaderboard.store.database_clock import now
from leaderboard.store.seasons import open_season_number
from leaderboard.store.tables import account, curves, job, policy, submission
from leaderboard.submissions.metadata import Metadata
from leaderboard.submissions.submission import Submission, SubmittedCurve, curves_json, parse_curves

PER_DAY, PER_SEASON = 5, 50  # submissions of one account to the service
DAY = 86_400.0  # [s]


class State(str, Enum):
    """The state of a submission."""

    QUEUED = "queued"
    RUNNING = "running"
    SCORED = "scored"
    INVALID = "invalid"
    FAILED = "failed"  # the evaluation broke off, through no fault of the submission
    WITHDRAWN = "withdrawn"  # in any other state; not in the column `state`


class QuotaExceeded(RuntimeError):
    """The account has used up its submissions."""


@dataclass(frozen=True)
class Kept:
    """A submission's place in the store."""

    id: int
    is_new: bool  # False if policies that compute the same were submitted before


@dataclass(frozen=True)
class StoredSubmission:
    """A submission in the store, without its policies."""

    id: int
    season: int
    account_id: int
    account: str
    env: str
    board_version: int
    metadata: Metadata
    state: State
    reason: str
    submitted_at: float
    scored_at: float | None
    withdrawn_at: float | None

    @property
    def shown_state(self) -> State:
        """Withdrawn if it was withdrawn, else the state of its evaluation."""
        return self.state if self.withdrawn_at is None else State.WITHDRAWN


def keep_submission(database: Database, given: Submission, account_id: int, *, quota: bool) -> Kept:
    """Queue a checked submission in the open season, unless the season already has it.

    Args:
        database: the store.
        given: checked by `check_submission`.
        account_id: of the submitter.
        quota: apply `PER_DAY` and `PER_SEASON` to the account.

    Raises:
        SeasonError: if no season is open.
        QuotaExceeded: if the account may not submit more at present.
    """
    with database.writing() as connection:
        # The lock makes submissions of one account wait for each other, so none evades the quota.
        lock = sa.select(account.c.name).where(account.c.id == account_id).with_for_update()
        actor = connection.execute(lock).scalar_one()
        season = open_season_number(connection)
        earlier = _find(connection, given, season)
        if earlier is not None:
            return Kept(earlier, False)
        if quota:
            _check_quota(connection, account_id, season)
        values = {
            "season": season,
            "account_id": account_id,
            "env": given.board.env,
            "board_version": given.board.version,
            "content_sha256": given.content_sha256,
            "meta": given.metadata.model_dump_json(),
            "state": State.QUEUED.value,
            "reason": "",
            "submitted_at": now(connection),
        }
        try:
            with connection.begin_nested():
                made = connection.execute(sa.insert(submission).values(**values))
        except sa.exc.IntegrityError:  # another account sent the same at the same moment
            winner = _find(connection, given, season)
            assert winner is not None
            return Kept(winner, False)
        assert made.inserted_primary_key is not None
        number = int(made.inserted_primary_key[0])
        _keep_parts(connection, given, number)
        record(connection, actor, "submit", str(number))
        return Kept(number, True)


def stored_submissions(
    database: Database, *, season: int | None = None, ids: list[int] | None = None
) -> list[StoredSubmission]:
    """Return submissions in their order: all, those of a season, or those with these numbers."""
    query = sa.select(submission, account.c.name).join(account).order_by(submission.c.id)
    if season is not None:
        query = query.where(submission.c.season == season)
    if ids is not None:
        query = query.where(submission.c.id.in_(ids))
    with database.reading() as connection:
        return [_stored(row) for row in connection.execute(query)]


def stored_submission(database: Database, number: int) -> StoredSubmission | None:
    """Return one submission, None if there is none with this number."""
    found = stored_submissions(database, ids=[number])
    return found[0] if found else None


def has_submissions(database: Database) -> bool:
    """Return whether there is any submission."""
    with database.reading() as connection:
        return connection.execute(sa.select(submission.c.id).limit(1)).first() is not None


def stored_curves(database: Database, ids: list[int]) -> dict[int, tuple[SubmittedCurve, ...]]:
    """Return the learning curves of the submissions that have some."""
    query = sa.select(curves).where(curves.c.submission_id.in_(ids))
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return {row.submission_id: parse_curves(row.content.encode()) for row in rows}


def withdraw(database: Database, number: int, actor: str) -> None:
    """Mark a submission as withdrawn: it loses its rank and stays visible.

    Raises:
        ValueError: if there is none with this number.
    """
    with database.writing() as connection:
        done = connection.execute(
            sa.update(submission)
            .where(submission.c.id == number, submission.c.withdrawn_at.is_(None))
            .values(withdrawn_at=now(connection))
        )
        if done.rowcount:
            record(connection, actor, "withdraw", str(number))
            return
        known = sa.select(submission.c.id).where(submission.c.id == number)
        if connection.execute(known).scalar_one_or_none() is None:
            raise ValueError(no_submission(number))


def no_submission(number: int) -> str:
    """Return the refusal of a number that no submission has."""
    return f"there is no submission {number}; a submission's page shows its number"


def other_board(number: int, env: str, version: int) -> str:
    """Return the refusal of a submission to a board that this release does not have."""
    return (
        f"submission {number} is to version {version} of the board of {env}, which this release "
        "does not have; use the matching release"
    )


def queue(connection: sa.Connection, number: int) -> None:
    """Let a submission wait for its evaluation."""
    waiting = {"submission_id": number, "owner": None, "lease_until": 0.0, "attempts": 0}
    connection.execute(sa.insert(job).values(**waiting))


def _find(connection: sa.Connection, given: Submission, season: int) -> int | None:
    query = sa.select(submission.c.id).where(
        submission.c.season == season,
        submission.c.env == given.board.env,
        submission.c.board_version == given.board.version,
        submission.c.content_sha256.in_([given.content_sha256, given.file_sha256]),
    )
    return connection.execute(query.order_by(submission.c.id).limit(1)).scalar_one_or_none()


def _check_quota(connection: sa.Connection, account_id: int, season: int) -> None:
    mine = sa.select(sa.func.count()).where(submission.c.account_id == account_id)
    today = mine.where(submission.c.submitted_at > now(connection) - DAY)
    if connection.execute(today).scalar_one() >= PER_DAY:
        raise QuotaExceeded(
            f"at most {PER_DAY} submissions in 24 hours are allowed; try again later"
        )
    this_season = mine.where(submission.c.season == season)
    if connection.execute(this_season).scalar_one() >= PER_SEASON:
        raise QuotaExceeded(
            f"at most {PER_SEASON} submissions per season are allowed; wait for the next"
        )


def _keep_parts(connection: sa.Connection, given: Submission, number: int) -> None:
    rows = [
        {"submission_id": number, "position": position, "sha256": digest, "content": content}
        for position, (digest, content) in enumerate(
            zip(given.metadata.sha256, given.policies, strict=True)
        )
    ]
    connection.execute(sa.insert(policy), rows)
    if given.curves:
        text = curves_json(given.curves).decode()
        connection.execute(sa.insert(curves).values(submission_id=number, content=text))
    queue(connection, number)


def _stored(row: sa.Row) -> StoredSubmission:
    return StoredSubmission(
        id=row.id,
        season=row.season,
        account_id=row.account_id,
        account=row.name,
        env=row.env,
        board_version=row.board_version,
        metadata=Metadata.model_validate_json(row.meta),
        state=State(row.state),
        reason=row.reason,
        submitted_at=row.submitted_at,
        scored_at=row.scored_at,
        withdrawn_at=row.withdrawn_at,
    )
