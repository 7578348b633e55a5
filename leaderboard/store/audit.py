"""The audit log: every change that shows on a page, appended, never altered."""

from __future__ import annotations

import time

import sqlalchemy as sa

from leaderboard.store.tables import audit


def record(connection: sa.Connection, actor: str, action: str, subject: str) -> None:
    """Append an entry within the transaction of the change it tells of."""
    entry = {"at": time.time(), "actor": actor[:80], "action": action, "subject": subject[:160]}
    connection.execute(sa.insert(audit).values(**entry))


def revision(connection: sa.Connection) -> int:
    """Return a number that grows with every change: pages of the same revision are the same."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one())
