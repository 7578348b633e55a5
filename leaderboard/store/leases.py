"""Leases on waiting submissions: one worker at a time, and another one if that worker dies."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from leaderboard.store.audit import record
from leaderboard.store.database import Database
from leaderboard.store.submission_store import State
from leaderboard.store.tables import job, submission

LEASE_SECONDS = 60.0  # renewed with every batch of episodes
MOST_ATTEMPTS = 5  # then the submission counts as failed


class LeaseLost(RuntimeError):
    """Another worker has taken over; its results are the same, so this worker's are not needed."""


@dataclass(frozen=True)
class Lease:
    """The right to evaluate a submission for a while."""

    submission_id: int
    owner: str
    attempt: int  # 1 is the first


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
    """
    with database.writing() as connection:
        query = sa.select(job).where(job.c.lease_until < time.time()).order_by(job.c.submission_id)
        if submission_id is not None:
            query = query.where(job.c.submission_id == submission_id)
        found = connection.execute(query.limit(1).with_for_update(skip_locked=True)).one_or_none()
        if found is None:
            return None
        if found.attempts >= MOST_ATTEMPTS:
            reason = f"the evaluation broke off {found.attempts} times; ask an administrator"
            close(connection, found.submission_id, State.FAILED, reason, owner)
            return None
        values = {
            "owner": owner,
            "lease_until": time.time() + seconds,
            "attempts": found.attempts + 1,
        }
        mine = job.c.submission_id == found.submission_id
        connection.execute(sa.update(job).where(mine).values(**values))
        running = {"state": State.RUNNING.value}
        this = submission.c.id == found.submission_id
        connection.execute(sa.update(submission).where(this).values(**running))
        record(connection, owner, "evaluate", str(found.submission_id))
        return Lease(found.submission_id, owner, found.attempts + 1)


def renew(connection: sa.Connection, lease: Lease, seconds: float = LEASE_SECONDS) -> None:
    """Extend a lease within a transaction, after checking that it is still held.

    Raises:
        LeaseLost: if another worker has it.
    """
    done = connection.execute(
        sa.update(job)
        .where(job.c.submission_id == lease.submission_id, job.c.owner == lease.owner)
        .values(lease_until=time.time() + seconds)
    )
    if done.rowcount != 1:
        raise LeaseLost(f"submission {lease.submission_id} is being evaluated by another worker")


def release(database: Database, lease: Lease) -> None:
    """Give a lease back when the worker has to stop; this does not count as an attempt."""
    with database.writing() as connection:
        connection.execute(
            sa.update(job)
            .where(job.c.submission_id == lease.submission_id, job.c.owner == lease.owner)
            .values(owner=None, lease_until=0.0, attempts=lease.attempt - 1)
        )


def close(
    connection: sa.Connection, submission_id: int, state: State, reason: str, actor: str
) -> None:
    """End a submission's evaluation within the transaction that keeps its outcome."""
    connection.execute(sa.delete(job).where(job.c.submission_id == submission_id))
    connection.execute(
        sa.update(submission)
        .where(submission.c.id == submission_id)
        .values(state=state.value, reason=reason, scored_at=time.time())
    )
    record(connection, actor, state.value, str(submission_id))


def waiting(database: Database) -> int:
    """Return the number of submissions that wait or are being evaluated."""
    with database.reading() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(job)).scalar_one())
