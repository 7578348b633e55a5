"""What can be wrong with a store, in words: it takes nothing at present, or it is no store of ours.

Every error of SQLite and PostgreSQL that is not a fault of our own statements becomes one of the
two, wherever it happens: `explain_errors` is called once for each engine.
"""

from __future__ import annotations

import errno

import sqlalchemy as sa
from sqlalchemy import event

RETRY_SECONDS = 5  # after which a client may try again


class StoreUnavailable(OSError):
    """The store cannot be read or written at present; nothing is lost, and it may pass."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EBUSY, text)

    def __str__(self) -> str:
        return str(self.strerror)


class StoreRefused(ValueError):
    """The store is damaged, another application's or a newer version's; somebody has to act."""


_SQLITE_UNAVAILABLE = {
    "is locked": "is locked by another process; try again, or end that process",
    "disk is full": "cannot grow: its disk is full; make room and try again",
    "disk I/O error": "cannot be read or written: disk I/O error; is its disk full or failing?",
    "unable to open": "cannot be opened; do its folder and file exist, and may you write in both?",
    "readonly": "is read-only; make its file and folder writable, or copy it elsewhere",
    "permission denied": "may not be accessed; make its file and folder writable",
}
_DAMAGED = (
    "malformed",
    "not a database",
    "file is encrypted",
    "corrupt",
    "unsupported file format",
)
REPAIR = (
    "restore a backup, or save what is left with `sqlite3 STORE .recover`; `check-store` says more"
)


def explain_errors(engine: sa.Engine) -> None:
    """Make an engine raise `StoreUnavailable` and `StoreRefused` for its database's errors."""
    shown = shown_store(engine.url)
    event.listen(engine, "handle_error", lambda context: _explain(context, shown))


def shown_store(url: sa.URL) -> str:
    """Return how messages name a store: the path of its file, or its URL without the password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def damaged(shown: str, what: object) -> StoreRefused:
    """Return the error for a damaged store."""
    return StoreRefused(f"the store {shown} is damaged ({what}); {REPAIR}")


def _explain(context: sa.engine.ExceptionContext, shown: str) -> None:
    error = context.original_exception
    if context.dialect.name == "sqlite":
        _explain_sqlite(error, shown)
    elif isinstance(context.sqlalchemy_exception, sa.exc.OperationalError) or _is_read_only(error):
        reason = " ".join(str(error).split())[:300]
        raise StoreUnavailable(f"the store {shown} does not answer: {reason}") from error


def _explain_sqlite(error: BaseException, shown: str) -> None:
    text = str(error)
    for part, meaning in _SQLITE_UNAVAILABLE.items():
        if part in text:
            raise StoreUnavailable(f"the store {shown} {meaning}") from error
    if any(part in text for part in _DAMAGED):
        raise damaged(shown, text) from error


def _is_read_only(error: BaseException) -> bool:
    """Return whether a PostgreSQL server refuses to write, as after a failover."""
    return type(error).__name__ == "ReadOnlySqlTransaction"
