"""Seasons: hidden seeds that are provably fixed before anything is evaluated on them.

    seed_i = first 8 bytes of HMAC-SHA256(secret, "environment|board version|i"), big-endian

SHA-256(secret) is published when a season opens, the secret itself when it is revealed; then
everyone can replay every episode. The public split uses a known secret instead.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from leaderboard.boards.board import Board
from leaderboard.store.audit import record
from leaderboard.store.database import Database
from leaderboard.store.database_clock import now
from leaderboard.store.tables import job, season, submission

HIDDEN, PUBLIC = "hidden", "public"  # splits
PUBLIC_SECRET = b"safe-envs public split"
SECRET_SIZE = 32  # [bytes]


class SeasonState(str, Enum):
    """The state of a season."""

    OPEN = "open"
    CLOSED = "closed"  # takes no more submissions; the secret is not published yet
    REVEALED = "revealed"


@dataclass(frozen=True)
class Season:
    """A season as the public may see it, with its secret once that is revealed."""

    number: int
    secret_sha256: str
    opened_at: float
    closed_at: float | None
    revealed_secret: bytes | None
    revealed_at: float | None

    @property
    def state(self) -> SeasonState:
        """Whether it is open, closed or revealed."""
        if self.revealed_at is not None:
            return SeasonState.REVEALED
        return SeasonState.OPEN if self.closed_at is None else SeasonState.CLOSED


class SeasonError(ValueError):
    """The season is not in the state that this needs."""


def episode_seeds(secret: bytes, board: Board, indices: Iterable[int]) -> list[int]:
    """Return the seeds of the episodes with these indices, from 0 to 2^64 - 1."""
    digests = (
        hmac.digest(secret, f"{board.env}|{board.version}|{index}".encode(), "sha256")
        for index in indices
    )
    return [int.from_bytes(digest[:8], "big") for digest in digests]


def open_season(database: Database, actor: str, secret: bytes | None = None) -> Season:
    """Open the next season and return it.

    Args:
        database: the store.
        actor: name for the audit log.
        secret: 32 bytes; drawn from the system's generator if None.

    Raises:
        SeasonError: if a season is open.
    """
    chosen = secrets.token_bytes(SECRET_SIZE) if secret is None else secret
    if len(chosen) != SECRET_SIZE:
        raise ValueError(f"the secret has {len(chosen)} bytes; pass {SECRET_SIZE} random ones")
    with database.writing() as connection:
        numbers = connection.execute(
            sa.select(season.c.number, season.c.closed_at).with_for_update()
        ).all()
        running = [row.number for row in numbers if row.closed_at is None]
        if running:
            raise SeasonError(f"season {running[0]} is open; close it first: close-season")
        number = 1 + max((row.number for row in numbers), default=0)
        connection.execute(
            sa.insert(season).values(
                number=number,
                secret=chosen,
                secret_sha256=hashlib.sha256(chosen).hexdigest(),
                opened_at=now(connection),
            )
        )
        record(connection, actor, "open season", str(number))
    return season_of(database, number)


def close_season(database: Database, actor: str) -> Season:
    """Close the open season, which then takes no more submissions, and return it.

    Raises:
        SeasonError: if none is open.
    """
    with database.writing() as connection:
        number = open_season_number(connection)
        connection.execute(
            sa.update(season).where(season.c.number == number).values(closed_at=now(connection))
        )
        record(connection, actor, "close season", str(number))
    return season_of(database, number)


def reveal_season(database: Database, number: int, actor: str) -> Season:
    """Publish the secret of a closed season whose submissions are all evaluated; return it.

    Raises:
        SeasonError: if it is open or submissions are still to be evaluated.
    """
    if season_of(database, number).state is SeasonState.OPEN:
        raise SeasonError(f"season {number} is open; close it first: close-season")
    with database.writing() as connection:
        waiting = connection.execute(
            sa.select(sa.func.count())
            .select_from(job.join(submission))
            .where(submission.c.season == number)
        ).scalar_one()
        if waiting:
            raise SeasonError(
                f"season {number} has {waiting} submissions still to be evaluated; wait"
            )
        connection.execute(
            sa.update(season)
            .where(season.c.number == number, season.c.revealed_at.is_(None))
            .values(revealed_at=now(connection))
        )
        record(connection, actor, "reveal season", str(number))
    return season_of(database, number)


def all_seasons(database: Database) -> list[Season]:
    """Return the seasons, the latest first."""
    with database.reading() as connection:
        rows = connection.execute(sa.select(season).order_by(season.c.number.desc())).all()
    return [_public(row) for row in rows]


def season_of(database: Database, number: int) -> Season:
    """Return a season.

    Raises:
        SeasonError: if there is no such season.
    """
    for found in all_seasons(database):
        if found.number == number:
            return found
    raise SeasonError(f"there is no season {number}; the page of seasons lists them")


def open_season_number(connection: sa.Connection) -> int:
    """Return the number of the open season, which stays open until the transaction ends.

    Raises:
        SeasonError: if none is open.
    """
    query = sa.select(season.c.number).where(season.c.closed_at.is_(None))
    number = connection.execute(query.with_for_update(read=True)).scalar_one_or_none()
    if number is None:
        raise SeasonError("no season is open; ask an administrator to open one: open-season")
    return int(number)


def secret_of(connection: sa.Connection, number: int) -> bytes:
    """Return a season's secret; only the evaluator may use it."""
    query = sa.select(season.c.secret).where(season.c.number == number)
    return bytes(connection.execute(query).scalar_one())


def ensure_season(database: Database, actor: str) -> None:
    """Open the first season of a store that has had none."""
    if not all_seasons(database):
        try:
            open_season(database, actor)
        except (SeasonError, sa.exc.IntegrityError):
            if not all_seasons(database):  # else another process was faster
                raise


def _public(row: sa.Row) -> Season:
    revealed = row.revealed_at is not None
    return Season(
        number=row.number,
        secret_sha256=row.secret_sha256,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        revealed_secret=bytes(row.secret) if revealed else None,
        revealed_at=row.revealed_at,
    )
