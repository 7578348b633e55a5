"""Limits on requests.

Writes are counted in the store, so their limit survives restarts and spans all servers. Reads and
wrong tokens are counted in the memory of each server process: answering them writes nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from leaderboard.store.database import Database
from leaderboard.store.database_clock import now as database_time
from leaderboard.store.tables import request_count
from leaderboard.submissions.submission import LARGEST_SUBMISSION

PERIOD = 60  # [s]
LONGEST_NAME = 160  # of a client
PLACES = 2**16  # for clients in a server's memory
Clock = Callable[[], float]
StoreClock = Callable[[sa.Connection], float]


@dataclass(frozen=True)
class Limits:
    """Limits for a client of the service."""

    reads: int = 60  # of the API, by one address within a period, for each server process
    writes: int = 20  # by one account within a period, for all servers of a store together
    wrong_tokens: int = 10  # from one address within a period, for each server process
    largest_body: int = LARGEST_SUBMISSION  # [bytes]
    body_seconds: float = 60.0  # for a whole body to arrive


DEFAULT_LIMITS = Limits()


class TooManyRequests(RuntimeError):
    """A client sent more requests than allowed; it may try again after `seconds`."""

    def __init__(self, kind: str, allowed: int, seconds: int) -> None:
        super().__init__(
            f"at most {allowed} requests ({kind}) per {PERIOD} s are allowed; wait {seconds} s"
        )
        self.seconds = seconds


class RequestCounter:
    """Counts the requests of a server process in memory of a fixed size; safe to use in threads.

    A client's place is a keyed hash of its name; the key is drawn anew in every period. Two clients
    rarely have the same place; then they share its requests.

    Args:
        kind: of request, for the message.
        allowed: requests of one client in one period.
        clock: seconds since 1970.
    """

    def __init__(self, kind: str, allowed: int, clock: Clock = time.time) -> None:
        self._kind = kind
        self._allowed = allowed
        self._clock = clock
        self._lock = threading.Lock()
        self._period = -1
        self._key = b""
        self._counts: array[int] = array("L")

    def count(self, who: str) -> None:
        """Count a request, or refuse it if it is one too many.

        Raises:
            TooManyRequests: if it is one too many.
        """
        now = self._clock()
        with self._lock:
            if int(now // PERIOD) != self._period:
                self._period = int(now // PERIOD)
                self._key = secrets.token_bytes(16)
                self._counts = array("L", bytes(array("L").itemsize * PLACES))
            place = self._place(who)
            if self._counts[place] < self._allowed:
                self._counts[place] += 1
                return
        raise _too_many(self._kind, self._allowed, now)

    def _place(self, who: str) -> int:
        name = who.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(name, key=self._key, digest_size=4).digest()
        return int.from_bytes(digest, "big") % PLACES


def count_request(
    database: Database, kind: str, who: str, allowed: int, clock: StoreClock = database_time
) -> None:
    """Count a request in the store, or refuse it if it is one too many.

    Periods are by the database's clock, which all servers share.

    Args:
        database: the store.
        kind: of request; each kind is counted separately.
        who: a client's address, or an account.
        allowed: requests in one period.
        clock: seconds since 1970, asked within a transaction.

    Raises:
        TooManyRequests: if it is one too many.
    """
    check_request(database, kind, who, allowed, clock)  # refused requests write nothing
    insert = postgresql.insert if _is_postgresql(database) else sqlite.insert
    counting = insert(request_count).on_conflict_do_update(
        index_elements=[request_count.c.who, request_count.c.period],
        set_={"requests": request_count.c.requests + 1},
    )
    with database.writing() as connection:
        now = clock(connection)
        period = int(now // PERIOD)
        row = {"who": _name(kind, who), "period": period, "requests": 1}
        counted = counting.values(**row).returning(request_count.c.requests)
        requests = connection.execute(counted).scalar_one()
        if requests == 1:
            old = request_count.c.period < period - 1
            connection.execute(sa.delete(request_count).where(old))
    if requests > allowed:
        raise _too_many(kind, allowed, now)


def check_request(
    database: Database, kind: str, who: str, allowed: int, clock: StoreClock = database_time
) -> None:
    """Raise TooManyRequests if a client has used up its requests; count nothing."""
    with database.reading() as connection:
        now = clock(connection)
        query = sa.select(request_count.c.requests).filter_by(
            who=_name(kind, who), period=int(now // PERIOD)
        )
        requests = connection.execute(query).scalar_one_or_none() or 0
    if requests >= allowed:
        raise _too_many(kind, allowed, now)


def _too_many(kind: str, allowed: int, now: float) -> TooManyRequests:
    return TooManyRequests(kind, allowed, int(PERIOD - now % PERIOD) + 1)


def _name(kind: str, who: str) -> str:
    return f"{kind} {who}"[:LONGEST_NAME]


def _is_postgresql(database: Database) -> bool:
    return database.engine.dialect.name == "postgresql"
