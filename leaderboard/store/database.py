"""Opens the store: SQLite in a file, without any setup, or PostgreSQL by its URL."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from leaderboard.store.schema import is_current, migrate
from leaderboard.store.store_errors import StoreUnavailable, explain_errors, shown_store
from leaderboard.store.store_file import check_store_file, make_store_file

EMBEDDED = Path("runs/leaderboard.sqlite")
BUSY_SECONDS = 30.0  # how long a writer waits for another
CONNECT_SECONDS = 5  # how long a PostgreSQL server may take to accept a connection
RETRY_PAUSE = 1.0  # [s] between tries of a patient writer
MOST_CONNECTIONS = (
    60  # of one process: more than its threads, so that readers never wait for writers
)
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Database:
    """A store whose tables are up to date.

    Args:
        engine: its connections.
        busy_seconds: how long a writer waits for another.
    """

    engine: sa.Engine
    busy_seconds: float = BUSY_SECONDS
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def shown(self) -> str:
        """How messages name the store."""
        return shown_store(self.engine.url)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection that sees one consistent state; this writes nothing.

        Raises:
            StoreUnavailable: if the store cannot be read at present.
            StoreRefused: if it is damaged.
        """
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection whose changes are committed when the block ends, all or none.

        Raises:
            StoreUnavailable: if the store takes no changes at present; none is made then.
            StoreRefused: if it is damaged.
        """
        with self._in_turn(), self.engine.connect() as plain:
            connection = plain.execution_options(begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    def write_patiently(self, change: Callable[[sa.Connection], Result]) -> Result:
        """Make a change, and try again as long as the store takes none; return the change's result.

        Args:
            change: works on the connection of a transaction; it is called again for every try.

        Raises:
            StoreRefused: if the store is damaged.
        """
        waiting = False
        while True:
            try:
                with self.writing() as connection:
                    result = change(connection)
            except StoreUnavailable as error:
                if not waiting:
                    log.warning("%s; waiting for it", error)
                waiting = True
                time.sleep(RETRY_PAUSE)
                continue
            if waiting:
                log.warning("the store %s takes changes again", self.shown)
            return result

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Let the threads of this process write to SQLite one by one, none waiting too long."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=self.busy_seconds):
            raise StoreUnavailable(
                f"the store {self.shown} is busy: other changes have waited for "
                f"{self.busy_seconds:g} s; try again"
            )
        try:
            yield
        finally:
            self._turn.release()


def embedded_url(path: Path = EMBEDDED) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{path}"


def open_database(url: str, busy_seconds: float = BUSY_SECONDS) -> Database:
    """Return the store at a URL; create its tables or bring them up to date where needed.

    An up-to-date store is not written to, so it opens while others write and with a full disk.

    Args:
        url: of the store.
        busy_seconds: how long a writer waits for another.

    Raises:
        ValueError: if the URL is of another kind.
        StoreRefused: if it is damaged, another application's or a newer version's.
        StoreUnavailable: if it cannot be read at present.
        OSError: if a new one cannot be made.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        path = _sqlite_path(parsed)
        if not path.exists():
            make_store_file(path, _make_tables)
    return _opened(parsed, busy_seconds, _bring_up_to_date)


def open_as_it_is(url: str) -> tuple[Database, bool]:
    """Return an existing store without changing it, and whether its tables are up to date.

    Raises:
        ValueError: if the URL is of another kind or there is no store.
        StoreRefused: if it is damaged, another application's or a newer version's.
        StoreUnavailable: if it cannot be read at present.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and not _sqlite_path(parsed).exists():
        raise ValueError(f"there is no store {parsed.database}; pass another --db")
    found: list[bool] = []

    def note(database: Database) -> None:
        with database.reading() as connection:
            found.append(is_current(connection, database.shown))

    return _opened(parsed, BUSY_SECONDS, note), found[0]


def without_password(url: str) -> str:
    """Return the URL of a store with *** for its password.

    Raises:
        ValueError: if it is not a URL.
    """
    return _parsed(url).render_as_string(hide_password=True)


def _opened(url: sa.URL, busy_seconds: float, prepare: Callable[[Database], None]) -> Database:
    if url.get_backend_name() == "sqlite":
        check_store_file(_sqlite_path(url))
        database = Database(_sqlite(url, busy_seconds), busy_seconds)
    else:
        database = Database(_postgresql(url, busy_seconds), busy_seconds)
    try:
        prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _bring_up_to_date(database: Database) -> None:
    with database.reading() as connection:
        current = is_current(connection, database.shown)
    if database.engine.dialect.name == "sqlite":
        _turn_on_wal(database)
    if not current:
        with database.writing() as connection:
            migrate(connection)


def _make_tables(path: Path) -> None:
    """Write the tables into a new file, and leave no other file beside it."""
    database = Database(_sqlite(sa.make_url(embedded_url(path)), BUSY_SECONDS))
    try:
        _turn_on_wal(database)
        with database.writing() as connection:
            migrate(connection)
    finally:
        database.close()


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ValueError(_wrong_url(url)) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(_wrong_url(parsed.render_as_string(hide_password=True)))
    return parsed


def _wrong_url(url: str) -> str:
    return (
        f"{url!r} is not the URL of a store; pass sqlite:///path/to/file.sqlite or "
        "postgresql://user:password@host/database"
    )


def _postgresql(url: sa.URL, busy_seconds: float) -> sa.Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    limits: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "options": f"-c lock_timeout={int(1000 * busy_seconds)}",
    }
    try:
        engine = sa.create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,  # a connection that the server has ended is replaced
            max_overflow=MOST_CONNECTIONS,
            connect_args={name: limits[name] for name in limits.keys() - url.query.keys()},
        )
    except ModuleNotFoundError as error:
        raise ValueError(
            'PostgreSQL needs its driver: pip install "safe-envs-agents[postgresql]"'
        ) from error
    explain_errors(engine)
    return engine


def _sqlite_path(url: sa.URL) -> Path:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ValueError("a SQLite store is a file shared by worker and server; pass its path")
    return Path(url.database)


def _sqlite(url: sa.URL, busy_seconds: float) -> sa.Engine:
    engine = sa.create_engine(
        url, connect_args={"timeout": busy_seconds}, max_overflow=MOST_CONNECTIONS
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    explain_errors(engine)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """Sync every commit, begin transactions ourselves, write nothing in order to read."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _turn_on_wal(database: Database) -> None:
    """Allow readers beside a writer; the file remembers it, so this is only to be done once."""
    last_moment = time.monotonic() + database.busy_seconds
    with database.engine.connect().execution_options(begin=None) as connection:
        while connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
            try:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            except StoreUnavailable as error:
                # SQLite does not wait for others that do so at the same time.
                if "locked" not in str(error) or time.monotonic() > last_moment:
                    raise
                time.sleep(0.05)


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the lock at once if the block writes; if taken later, two writers could deadlock."""
    statement = connection.get_execution_options().get("begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)
