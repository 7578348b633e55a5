"""The worker: evaluates submissions one after the other."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from leaderboard.evaluation.copy_check import compare_next
from leaderboard.evaluation.evaluate import Progress, Tried, evaluate, no_progress
from leaderboard.store.database import Database
from leaderboard.store.heartbeat import Heartbeat
from leaderboard.store.leases import LEASE_SECONDS, Lease, LeaseLost, claim, postpone, release
from leaderboard.store.store_errors import StoreRefused, StoreUnavailable
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
    lease_seconds: float = LEASE_SECONDS,
) -> tuple[int, State] | None:
    """Evaluate a waiting submission; return its number and state, None if none is waiting.

    Args:
        database: the store.
        owner: of the lease.
        submission_id: evaluate only this one.
        progress: called with the episodes done and the episodes in all.
        tried: policies that this process has checked and started.
        lease_seconds: after which another worker takes over if this one dies.

    Raises:
        LeaseLost: if another worker has taken over.
        Exception: any fault of this machine; the submission waits for another attempt, or has
            failed after too many.
    """
    lease = claim(database, owner, submission_id, lease_seconds)
    if lease is None:
        return None
    try:
        with Heartbeat(database, lease):
            return lease.submission_id, evaluate(database, lease, progress, tried)
    except KeyboardInterrupt:
        release(database, lease)
        raise
    except LeaseLost:
        raise
    except StoreUnavailable:
        _release_patiently(database, lease)
        raise
    except Exception:  # everything that policies can do ends in a state; this is the machine's
        with suppress(Exception):  # of the store; then the lease ends by itself
            postpone(database, lease)
        raise


def _release_patiently(database: Database, lease: Lease) -> None:
    """Give a lease back as soon as the store takes changes; this does not count as an attempt."""
    while True:
        try:
            release(database, lease)
            return
        except StoreUnavailable:
            time.sleep(POLL_SECONDS)


def work(
    database: Database,
    stop: threading.Event,
    report: Report,
    lease_seconds: float = LEASE_SECONDS,
) -> None:
    """Evaluate submissions until `stop` is set; when none is waiting, compare uncompared ones.

    If the evaluation itself fails, the submission is tried again a while later, by another worker
    if there is one. While the store is not available, the worker waits for it.

    Raises:
        StoreRefused: if the store is damaged.
    """
    owner = worker_name()
    told = ""
    uncompared: set[int] = set()
    while not stop.is_set():
        try:
            done = evaluate_next(database, owner, lease_seconds=lease_seconds)
            told = ""
            if done is None and compare_next(database, owner, uncompared) is not None:
                continue
        except LeaseLost as lost:
            report(str(lost))
            continue
        except KeyboardInterrupt:
            return
        except StoreRefused:
            raise
        except StoreUnavailable as error:
            if str(error) != told:
                told = str(error)
                report(f"{told}; waiting for it")
            stop.wait(POLL_SECONDS)
            continue
        except Exception as error:
            report(
                f"the evaluation failed and is tried again later: {type(error).__name__}: {error}"
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
