"""Leases on waiting submissions: one worker at a time, and another one if that worker dies.

All times are by the database's clock, so a worker whose own clock is wrong blocks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from leaderboard.boards.board import boards
from leaderboard.store.audit import record
from leaderboard.store.database import Database
from leaderboard.store.database_clock import now
from leaderboard.store.episode_store import count_episodes, drop_episodes
from leaderboard.store.seasons import HIDDEN
from leaderboard.store.submission_store import State, no_submission, other_board, queue
from leaderboard.store.tables import job, submission

LEASE_SECONDS = 60.0  # renewed by a heartbeat; see heartbeat.py
LONGEST_LEASE = 600.0  # one that ends later was given before the database's clock was set back
MOST_ATTEMPTS = 5  # in a row without a new episode, so at most five for each batch; then: failed
BACKOFF_SECONDS = 10.0  # after the first of them, and twice as long after each further one
OTHERS_FIRST = 10.0  # for which a worker leaves a submission that it gave up to other workers
_GIVEN_UP = "not "  # before the name of the worker that gave a lease up


class LeaseLost(RuntimeError):
    """Another worker has taken over; its results are the same, so this worker's are not needed."""


@dataclass(frozen=True)
class Lease:
    """The right to evaluate a submission for a while."""

    submission_id: int
    owner: str
    attempt: int  # 1 is the first, and the first after a new episode
    seconds: float = LEASE_SECONDS  # without renewal


def claim(
    database: Database,
    owner: str,
    submission_id: int | None = None,
    seconds: float = LEASE_SECONDS,
) -> Lease | None:
    """Return a lease on the oldest submission that no worker has, None if there is none.

    Args:
        database: the store.
        owner: a name that no other worker has.
        submission_id: lease only this one.
        seconds: how long the lease lasts without renewal.

    Raises:
        ValueError: if that is too long.
    """
    if not seconds <= LONGEST_LEASE:
        raise ValueError(f"a lease of {seconds:g} s was asked for; pass at most {LONGEST_LEASE:g}")
    with database.writing() as connection:
        time = now(connection)
        query = sa.select(job).where(_is_free(time, owner)).order_by(job.c.submission_id)
        if submission_id is not None:
            query = query.where(job.c.submission_id == submission_id)
        found = connection.execute(query.limit(1).with_for_update(skip_locked=True)).one_or_none()
        if found is None:
            return None
        if found.attempts >= MOST_ATTEMPTS:
            _give_up(connection, found.submission_id, found.attempts, owner)
            return None
        lease = Lease(found.submission_id, owner, found.attempts + 1, seconds)
        _change_job(
            connection, lease, owner=owner, lease_until=time + seconds, attempts=lease.attempt
        )
        running = {"state": State.RUNNING.value}
        this = submission.c.id == found.submission_id
        connection.execute(sa.update(submission).where(this).values(**running))
        record(connection, owner, "evaluate", str(found.submission_id))
        return lease


def renew(connection: sa.Connection, lease: Lease, *, progress: bool = False) -> None:
    """Extend a lease within a transaction, after checking that it is still held.

    Args:
        connection: of the transaction.
        lease: that is extended.
        progress: the transaction keeps new episodes, so attempts are counted from 0 again.

    Raises:
        LeaseLost: if another worker has it.
    """
    _check_held(connection, lease)
    _change_job(connection, lease, lease_until=now(connection) + lease.seconds)
    if progress:
        _change_job(connection, lease, attempts=0)


def release(database: Database, lease: Lease) -> None:
    """Give a lease back when the worker has to stop; this does not count as an attempt."""
    with database.writing() as connection:
        if _is_held(connection, lease):
            attempts = sa.case((job.c.attempts > 0, job.c.attempts - 1), else_=0)
            _change_job(connection, lease, owner=None, lease_until=0.0, attempts=attempts)


def postpone(database: Database, lease: Lease) -> None:
    """Give a lease back after a fault of this machine; another worker may try a while later.

    The submission has failed if no attempt in a row has brought a new episode.
    """
    with database.writing() as connection:
        attempts = connection.execute(_attempts(lease)).scalar_one_or_none()
        if attempts is None:
            return  # lost
        if attempts >= MOST_ATTEMPTS:
            _give_up(connection, lease.submission_id, attempts, lease.owner)
            return
        pause = BACKOFF_SECONDS * 2.0 ** max(attempts - 1, 0)
        free_at = now(connection) + pause
        _change_job(connection, lease, owner=_GIVEN_UP + lease.owner, lease_until=free_at)
        record(connection, lease.owner, "interrupt", str(lease.submission_id))


def close(
    connection: sa.Connection, submission_id: int, state: State, reason: str, actor: str
) -> None:
    """End a submission's evaluation within the transaction that keeps its outcome."""
    connection.execute(sa.delete(job).where(job.c.submission_id == submission_id))
    connection.execute(
        sa.update(submission)
        .where(submission.c.id == submission_id)
        .values(state=state.value, reason=reason, scored_at=now(connection))
    )
    record(connection, actor, state.value, str(submission_id))


def requeue(
    database: Database, number: int, actor: str, reason: str, *, from_scratch: bool = False
) -> int:
    """Queue a submission again whose evaluation failed or found it invalid.

    A failed one keeps its episodes and only plays those that are missing, unless `from_scratch` is
    set. An invalid one keeps none: its verdict is found anew from the beginning.

    Args:
        database: the store.
        number: of the submission.
        actor: name for the audit log.
        reason: shown on the submission's page.
        from_scratch: play all episodes again.

    Returns:
        How many episodes it keeps.

    Raises:
        ValueError: if there is no such submission, or its evaluation has another outcome.
    """
    with database.writing() as connection:
        query = sa.select(submission).where(submission.c.id == number).with_for_update()
        found = connection.execute(query).one_or_none()
        if found is None:
            raise ValueError(no_submission(number))
        state = State(found.state)
        if state not in (State.FAILED, State.INVALID):
            raise ValueError(_not_to_requeue(number, state))
        board = boards().get(found.env)
        if board is None or board.version != found.board_version:
            raise ValueError(other_board(number, found.env, found.board_version))
        if from_scratch or state is State.INVALID:
            drop_episodes(connection, number)
        again = {"state": State.QUEUED.value, "reason": "", "scored_at": None}
        this = submission.c.id == number
        connection.execute(sa.update(submission).where(this).values(**again))
        queue(connection, number)
        record(connection, actor, "requeue", str(number), reason)
        return count_episodes(connection, number, HIDDEN)


def _not_to_requeue(number: int, state: State) -> str:
    told = f"submission {number} is {state.value}; only failed and invalid ones are queued again"
    if state is State.SCORED:
        return f"{told}; rescore computes its statistics again"
    return f"{told}; wait for its evaluation"


def waiting(database: Database) -> int:
    """Return the number of submissions that wait or are being evaluated."""
    with database.reading() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(job)).scalar_one())


def _is_free(time: float, owner: str) -> sa.ColumnElement[bool]:
    """Return the condition that a worker may take a job; one that it gave up comes later."""
    not_given_up = sa.or_(job.c.owner.is_(None), job.c.owner != _GIVEN_UP + owner)
    return sa.or_(
        sa.and_(job.c.lease_until < time, not_given_up),
        job.c.lease_until < time - OTHERS_FIRST,
        job.c.lease_until > time + LONGEST_LEASE,
    )


def _give_up(connection: sa.Connection, submission_id: int, attempts: int, actor: str) -> None:
    reason = (
        f"the evaluation broke off {attempts} times without a new episode, through no fault of "
        "the policies; an administrator can queue it again"
    )
    close(connection, submission_id, State.FAILED, reason, actor)


def _attempts(lease: Lease) -> sa.Select[int]:
    """Return the query of the attempts of a lease that is still held."""
    held = sa.and_(job.c.submission_id == lease.submission_id, job.c.owner == lease.owner)
    return sa.select(job.c.attempts).where(held).with_for_update()


def _is_held(connection: sa.Connection, lease: Lease) -> bool:
    return connection.execute(_attempts(lease)).scalar_one_or_none() is not None


def _check_held(connection: sa.Connection, lease: Lease) -> None:
    if not _is_held(connection, lease):
        raise LeaseLost(f"submission {lease.submission_id} is being evaluated by another worker")


def _change_job(connection: sa.Connection, lease: Lease, **values: object) -> None:
    this = job.c.submission_id == lease.submission_id
    connection.execute(sa.update(job).where(this).values(**values))
