"""The worker: evaluates submissions one after the other."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

from leaderboard.evaluation.copy_check import compare_next
from leaderboard.evaluation.evaluate import Progress, Tried, evaluate, no_progress
from leaderboard.store.database import Database
from leaderboard.store.leases import LeaseLost, claim, release
from leaderboard.store.submission_store import State

POLL_SECONDS = 1.0

Report = Callable[[str], None]


def worker_name() -> str:
    """Return a name that no other worker has."""
    return f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"


def evaluate_next(
    database: Database,
    owner: str,
    submission_id: int | None = None,
    progress: Progress = no_progress,
    tried: Tried | None = None,
) -> tuple[int, State] | None:
    """Evaluate a waiting submission; return its number and state, None if none is waiting.

    Args:
        database: the store.
        owner: of the lease.
        submission_id: evaluate only this one.
        progress: called with the episodes done and the episodes in all.
        tried: policies that this process has checked and started.

    Raises:
        LeaseLost: if another worker has taken over.
    """
    lease = claim(database, owner, submission_id)
    if lease is None:
        return None
    try:
        return lease.submission_id, evaluate(database, lease, progress, tried)
    except KeyboardInterrupt:
        release(database, lease)
        raise


def work(database: Database, stop: threading.Event, report: Report) -> None:
    """Evaluate submissions until `stop` is set; when none is waiting, compare uncompared ones.

    If the evaluation itself fails, the submission is tried again after its lease has expired.
    """
    owner = worker_name()
    uncompared: set[int] = set()
    while not stop.is_set():
        try:
            done = evaluate_next(database, owner)
            if done is None and compare_next(database, owner, uncompared) is not None:
                continue
        except LeaseLost as lost:
            report(str(lost))
            continue
        except KeyboardInterrupt:
            return
        except Exception as error:
            report(
                f"the evaluation failed and will be tried again: {type(error).__name__}: {error}"
            )
            stop.wait(POLL_SECONDS)
            continue
        if done is None:
            stop.wait(POLL_SECONDS)
        else:
            report(f"submission {done[0]}: {done[1].value}")


def stop_on_signals() -> threading.Event:
    """Return an event for `work`; SIGTERM then interrupts it as Ctrl-C does and frees the lease."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop
