"""Copies a SQLite store while it is in use."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from leaderboard.store.database import Database, embedded_url, open_as_it_is
from leaderboard.store.store_check import file_problems
from leaderboard.store.store_errors import StoreRefused
from leaderboard.store.store_file import move_new, remove_with_logs, temporary_name


def back_up(database: Database, path: Path) -> int:
    """Copy a store at one moment, verify the copy, and return its size in bytes.

    Others may read and write meanwhile. The copy gets its name when it is complete and verified.

    Args:
        database: a SQLite store.
        path: of the copy.

    Raises:
        ValueError: if the store is not a file, or there is a file with the copy's name.
        StoreRefused: if the store is damaged; there is no copy then.
        OSError: if the copy cannot be written; there is none then.
    """
    if database.engine.dialect.name != "sqlite":
        raise ValueError(
            "backup copies SQLite stores; for PostgreSQL use its own program: "
            f"pg_dump --format=custom --file {path} DATABASE"
        )
    if path.exists():
        raise ValueError(f"{path} exists, and a backup replaces nothing; pass another name")
    temporary = temporary_name(path)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _verify(temporary, _copy(database, temporary))
        _sync(temporary)
        move_new(temporary, path)
    except FileExistsError as error:
        raise ValueError(f"{path} was made by another program meanwhile") from error
    except OSError as error:
        if error.filename == str(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        remove_with_logs(temporary)
    return path.stat().st_size


def _copy(database: Database, path: Path) -> dict[str, int]:
    """Copy a store and return the number of rows of its tables, both at the same moment."""
    with database.reading() as connection, closing(sqlite3.connect(path)) as copy:
        rows = _rows(connection)  # from here on the connection sees one state
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        try:
            source.backup(copy)
        except sqlite3.DatabaseError as error:
            if "full" in str(error) or "I/O" in str(error):
                raise OSError(0, f"the copy cannot be written: {error}", str(path)) from error
            raise StoreRefused(f"the store {database.shown} cannot be copied: {error}") from error
    return rows


def _verify(path: Path, rows: dict[str, int]) -> None:
    database, _ = open_as_it_is(embedded_url(path))
    try:
        with database.reading() as connection:
            problems = file_problems(connection)
            if problems:
                raise StoreRefused(
                    f"the store is damaged, so there is no backup ({problems[0]}); "
                    "`check-store` says more"
                )
            assert _rows(connection) == rows, "the copy has other rows than the store"
    finally:
        database.close()


def _rows(connection: sa.Connection) -> dict[str, int]:
    names = sorted(sa.inspect(connection).get_table_names())
    count = sa.select(sa.func.count())
    return {
        name: connection.execute(count.select_from(sa.table(name))).scalar_one() for name in names
    }


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
