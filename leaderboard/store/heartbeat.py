"""Keeps a lease while a batch of episodes runs, however long that takes."""

from __future__ import annotations

import threading
from types import TracebackType

from leaderboard.store.database import Database
from leaderboard.store.leases import Lease, LeaseLost, renew


class Heartbeat:
    """Renews a lease three times in its duration, in a thread with its own connection.

    Use it as a context manager. If the worker was held up for so long that another one has the
    lease, it stops; the next transaction of the evaluation finds that too and keeps nothing.

    Args:
        database: the store.
        lease: that is renewed.
    """

    def __init__(self, database: Database, lease: Lease) -> None:
        self._database = database
        self._lease = lease
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._lease.seconds / 3.0):
            try:
                with self._database.writing() as connection:
                    renew(connection, self._lease)
            except LeaseLost:
                return
            except Exception:  # whatever the driver raises: the store takes no changes at present
                continue  # and the next beat may come in time; else the lease ends
