"""Opens the store: SQLite in a file, without any setup, or PostgreSQL by its URL."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event

EMBEDDED = Path("runs/leaderboard.sqlite")
BUSY_SECONDS = 30.0  # how long a writer waits for another
_one_migration = threading.Lock()  # Alembic keeps its current context in a module


@dataclass(frozen=True)
class Database:
    """A store whose tables are up to date."""

    engine: sa.Engine

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection that sees one consistent state."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection whose changes are committed when the block ends, all or none."""
        with self.engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def embedded_url(path: Path = EMBEDDED) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{path}"


def open_database(url: str) -> Database:
    """Return the store at a URL; create its tables or bring them up to date.

    Raises:
        ValueError: if the URL is of another kind or the store cannot be opened.
    """
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            migrate(connection.execution_options(writes=True))
    except sa.exc.OperationalError as error:
        shown = engine.url.render_as_string(hide_password=True)
        engine.dispose()
        raise ValueError(f"the store {shown} cannot be opened: {error.orig}") from error
    return Database(engine)


def without_password(url: str) -> str:
    """Return the URL of a store with *** for its password.

    Raises:
        ValueError: if it is not a URL.
    """
    return _parsed(url).render_as_string(hide_password=True)


def migrate(connection: sa.Connection) -> None:
    """Bring the tables up to date."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    with _one_migration:
        command.upgrade(config, "head")


def _engine(url: str) -> sa.Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(parsed)
    raise ValueError(_wrong_url(parsed.render_as_string(hide_password=True)))


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ValueError(_wrong_url(url)) from None


def _wrong_url(url: str) -> str:
    return (
        f"{url!r} is not the URL of a store; pass sqlite:///path/to/file.sqlite or "
        "postgresql://user:password@host/database"
    )


def _postgresql(url: sa.URL) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return sa.create_engine(url, isolation_level="READ COMMITTED", pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ValueError(
            'PostgreSQL needs its driver: pip install "safe-envs-agents[postgresql]"'
        ) from error


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise ValueError("a SQLite store is a file shared by worker and server; pass its path")
    path = Path(url.database)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():  # it contains the season's secret: readable by the owner only
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """Allow readers beside a writer, sync every commit, begin transactions ourselves."""
    connection.isolation_level = None
    cursor = connection.cursor()
    _turn_on_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _turn_on_wal(cursor: sqlite3.Cursor) -> None:
    """Turn on the write-ahead log; SQLite does not wait for others that do so at the same time."""
    last_moment = time.monotonic() + BUSY_SECONDS
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > last_moment:
                raise
            time.sleep(0.05)


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the lock at once if the block writes; if taken later, two writers could deadlock."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
