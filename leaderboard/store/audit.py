"""The audit log: records every change that is visible on a page; entries are never altered."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from leaderboard.store.database_clock import now
from leaderboard.store.tables import audit

OF_SUBMISSIONS = (  # actions whose subject is the number of a submission
    "submit",
    "evaluate",
    "interrupt",
    "scored",
    "invalid",
    "failed",
    "requeue",
    "rescore",
    "withdraw",
)


@dataclass(frozen=True)
class Event:
    """An entry about a submission, without its actor: names of workers and people stay private."""

    at: float  # [s] since 1970
    action: str
    reason: str  # of an administrator, for everybody to read


def record(
    connection: sa.Connection, actor: str, action: str, subject: str, reason: str = ""
) -> None:
    """Append an entry within the transaction of the change that it records."""
    entry = {"at": now(connection), "actor": actor[:80], "action": action}
    entry |= {"subject": subject[:160], "reason": reason}
    connection.execute(sa.insert(audit).values(**entry))


def history(connection: sa.Connection, number: int) -> list[Event]:
    """Return what happened to a submission, the oldest first."""
    query = (
        sa.select(audit.c.at, audit.c.action, audit.c.reason)
        .where(audit.c.subject == str(number), audit.c.action.in_(OF_SUBMISSIONS))
        .order_by(audit.c.id)
    )
    return [Event(row.at, row.action, row.reason) for row in connection.execute(query)]


def revision(connection: sa.Connection) -> int:
    """Return a number that grows with every change; at the same revision pages are the same."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one())
