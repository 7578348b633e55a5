"""The audit log: records every change that is visible on a page; entries are never altered."""

from __future__ import annotations

import time

import sqlalchemy as sa

from leaderboard.store.tables import audit


def record(connection: sa.Connection, actor: str, action: str, subject: str) -> None:
    """Append an entry within the transaction of the change that it records."""
    entry = {"at": time.time(), "actor": actor[:80], "action": action, "subject": subject[:160]}
    connection.execute(sa.insert(audit).values(**entry))


def revision(connection: sa.Connection) -> int:
    """Return a number that grows with every change; at the same revision pages are the same."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one())
