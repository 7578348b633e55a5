"""Limits on requests, counted in the store: they outlive a restart and hold for all servers."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from leaderboard.database import Database
from leaderboard.tables import request_count

PERIOD = 60  # [s]
READS, WRITES, WRONG_TOKENS = 60, 20, 10  # of one address per period


class TooManyRequests(RuntimeError):
    """An address has asked more often than it may; `seconds` until it may again."""

    def __init__(self, kind: str, allowed: int, seconds: int) -> None:
        super().__init__(
            f"{allowed} requests ({kind}) within {PERIOD} s are allowed; wait {seconds} s"
        )
        self.seconds = seconds


def count_request(database: Database, kind: str, address: str, allowed: int) -> None:
    """Count a request.

    Args:
        database: the store.
        kind: what is counted together.
        address: of the client.
        allowed: in one period.

    Raises:
        TooManyRequests: if it is one too many.
    """
    now = time.time()
    period = int(now // PERIOD)
    insert = postgresql.insert if _is_postgresql(database) else sqlite.insert
    row = {"who": f"{kind} {address}"[:160], "period": period, "requests": 1}
    statement = insert(request_count).values(**row)
    counting = statement.on_conflict_do_update(
        index_elements=[request_count.c.who, request_count.c.period],
        set_={"requests": request_count.c.requests + 1},
    ).returning(request_count.c.requests)
    with database.writing() as connection:
        requests = connection.execute(counting).scalar_one()
        if requests == 1:
            old = request_count.c.period < period - 1
            connection.execute(sa.delete(request_count).where(old))
    if requests > allowed:
        raise TooManyRequests(kind, allowed, int((period + 1) * PERIOD - now) + 1)


def check_request(database: Database, kind: str, address: str, allowed: int) -> None:
    """Raise TooManyRequests if an address has used up what is allowed, without counting."""
    now = time.time()
    period = int(now // PERIOD)
    query = sa.select(request_count.c.requests).filter_by(
        who=f"{kind} {address}"[:160], period=period
    )
    with database.reading() as connection:
        requests = connection.execute(query).scalar_one_or_none() or 0
    if requests >= allowed:
        raise TooManyRequests(kind, allowed, int((period + 1) * PERIOD - now) + 1)


def _is_postgresql(database: Database) -> bool:
    return database.engine.dialect.name == "postgresql"
