"""The revision of a store's tables: checks it, and brings the tables up to date."""

from __future__ import annotations

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from leaderboard.store.store_errors import StoreRefused, damaged
from leaderboard.store.tables import metadata

REVISIONS = "alembic_version"
_one_migration = threading.Lock()  # Alembic keeps its current context in a module


def is_current(connection: sa.Connection, shown: str) -> bool:
    """Return whether the tables are up to date; this writes nothing.

    Args:
        connection: to the store.
        shown: the store's name in messages.

    Raises:
        StoreRefused: if they are another application's or a newer version's, or one is missing.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if not tables and connection.dialect.name == "postgresql":
        return False  # a new database
    ours = tables & set(metadata.tables)
    if REVISIONS not in tables:
        if connection.dialect.name == "postgresql" and not ours:
            return False  # it may hold other things, too
        raise _foreign(tables, shown)
    revision = connection.exec_driver_sql(f"select version_num from {REVISIONS}").scalar()
    head = newest_revision()
    if revision == head:
        missing = sorted(set(metadata.tables) - tables)
        if missing:
            raise damaged(shown, f"it has no table {missing[0]!r}")
        return True
    if revision in _known_revisions():
        return False
    if not {"season", "submission", "policy"} <= ours:
        raise _foreign(tables, shown)
    raise StoreRefused(
        f"the store {shown} has revision {revision!r}; this version of the leaderboard knows "
        f"revisions up to {head!r}; install the newer version that wrote the store"
    )


def migrate(connection: sa.Connection) -> None:
    """Bring the tables up to date."""
    config = _config()
    config.attributes["connection"] = connection
    with _one_migration:
        command.upgrade(config, "head")


def newest_revision() -> str:
    """Return the revision of an up-to-date store."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _foreign(tables: set[str], shown: str) -> StoreRefused:
    if not tables:
        return StoreRefused(
            f"the store {shown} has no tables; if its -wal file was lost, restore a backup; if it "
            "never held anything, remove the file and a new store is made"
        )
    names = ", ".join(sorted(tables)[:3])
    return StoreRefused(
        f"{shown} is no store of a leaderboard: it holds other tables ({names}, ...); pass another "
        "file or database"
    )
