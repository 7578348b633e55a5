"""Runs a function on many inputs in worker processes, each of which has one input at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, NamedTuple, TypeVar

from baselines.jobs.interruption import Interrupted

Item = TypeVar("Item")
Function = Callable[[Item], str | None]

GRACE = 60.0  # [s] from SIGTERM to SIGKILL: a training saves its state after the current update
LONGEST_WAIT = 1.0  # [s] a process that the worker started may hide from us that the worker died
LONGEST_REASON = 10_000  # characters
PATIENCE = 1.0  # [s] for the exit code of a worker that has closed its end of the pipe


class _Message(NamedTuple):
    """What a worker tells about its item."""

    has_finished: bool  # False: it begins now
    reason: str = ""  # why the item failed
    goes_on: bool = True  # False: the worker ends


def run_in_processes(
    function: Function[Item],
    items: Sequence[Item],
    workers: int,
    job_timeout: float | None = None,
    on_leaving: Callable[[], None] = lambda: None,
    grace: float = GRACE,
) -> Generator[tuple[Item, str], None, None]:
    """Yield each item when the function has finished with it, with "" or why it failed.

    At most `workers` items run at a time. If a worker dies, only the item that it ran is lost, and
    another worker takes its place. Workers ignore Ctrl-C. Leaving the iterator early, also by
    Ctrl-C, sends SIGTERM to the workers, waits until they have ended, and kills those that have not
    after the grace time; a second Ctrl-C kills them at once. Workers end as well if this process is
    killed.

    Args:
        function: a module-level function; it runs in a spawned process. What it returns, if
            anything, is why it failed; an exception, also SystemExit, means that it failed.
        items: its inputs, picklable.
        workers: number of processes.
        job_timeout: [s] for one item; an item that takes longer is ended and has failed. None for
            no limit.
        on_leaving: called before the wait for workers that still run an item.
        grace: [s] from SIGTERM to SIGKILL.
    """
    waiting = list(reversed(items))
    pool: list[_Worker[Item]] = []
    try:
        while waiting or any(worker.is_busy for worker in pool):
            while waiting and (worker := _idle_worker(pool, workers, grace)) is not None:
                worker.begin(function, waiting.pop())
            _wait_for_news(pool)
            for worker in list(pool):  # also those without news: they may be late
                finished = worker.finished(job_timeout, grace)
                if worker.has_ended:
                    pool.remove(worker)
                if finished is not None:
                    yield finished
    finally:
        if any(worker.is_busy for worker in pool):
            on_leaving()
        _end(pool, grace)


def fault_told(error: BaseException) -> str:
    """Return what an exception says, in one line that starts with its class."""
    if isinstance(error, SystemExit):
        return f"SystemExit: the job called sys.exit({error.code!r})"
    text = " ".join(str(error).splitlines())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def ending_told(exitcode: int) -> str:
    """Return how a process ended in the middle of its work, from `Process.exitcode`."""
    if exitcode == -signal.SIGKILL:
        return "the worker process was killed by SIGKILL (by hand, or out of memory)"
    if exitcode < 0:
        return f"the worker process was ended by the signal {_signal_name(-exitcode)}"
    return (
        f"the worker process ended with exit code {exitcode} in the middle of the job (os._exit in "
        "the environment or the agent, or a library that ends the process)"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)


@dataclass
class _Task(Generic[Item]):
    """An item that a worker runs."""

    item: Item
    began: float | None = None  # [s] by the monotonic clock; None while the worker still starts
    ended_at: float | None = None  # when it was sent SIGTERM for taking too long


class _Worker(Generic[Item]):
    """A process and the item that it runs, if any."""

    def __init__(self, grace: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # Not a daemon, which could not start processes of its own, such as environments.
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, grace))
        with _without_interrupts():  # until it ignores them
            self.process.start()
        theirs.close()
        self._task: _Task[Item] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it has an item."""
        return self._task is not None

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more items."""
        return self.connection.closed

    def begin(self, function: Function[Item], item: Item) -> None:
        """Hand over an item."""
        content = pickle.dumps((function, item))
        self._task = _Task(item)
        with contextlib.suppress(OSError):  # it has died since; `finished` tells how
            self.connection.send_bytes(content)

    def finished(self, job_timeout: float | None, grace: float) -> tuple[Item, str] | None:
        """Return the item that it has finished with, if any, and end it if it is late."""
        message = self._message()
        if message is None:
            self._end_if_late(job_timeout, grace)
            return None
        if not message.goes_on:
            self._close()
        if message.has_finished:
            return self._released(message.reason, job_timeout)
        if self._task is not None:
            self._task.began = time.monotonic()
        return None

    def _message(self) -> _Message | None:
        """Return what it says now, or how it died."""
        try:
            if self.connection.poll():
                return _Message(*self.connection.recv())
        except (EOFError, OSError):  # it is about to end
            self.process.join(PATIENCE)
            self.process.kill()
            self.process.join()
        if self.process.exitcode is None:
            return None
        with contextlib.suppress(EOFError, OSError):
            if self.connection.poll():  # sent between the first look and its death
                return _Message(*self.connection.recv())
        return _Message(True, ending_told(self.process.exitcode), goes_on=False)

    def _close(self) -> None:
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _released(self, reason: str, job_timeout: float | None) -> tuple[Item, str] | None:
        task, self._task = self._task, None
        if task is None:
            return None
        if task.ended_at is not None and reason:
            reason = f"timed out: it took longer than {job_timeout:g} s"
        return task.item, reason

    def _end_if_late(self, job_timeout: float | None, grace: float) -> None:
        task, now = self._task, time.monotonic()
        if job_timeout is None or task is None or task.began is None:
            return
        if task.ended_at is None and now > task.began + job_timeout:
            task.ended_at = now
            self.process.terminate()
        elif task.ended_at is not None and now > task.ended_at + grace:
            self.process.kill()


def _idle_worker(pool: list[_Worker[Item]], workers: int, grace: float) -> _Worker[Item] | None:
    """Return a worker without an item, started if need be; None if as many as allowed are busy."""
    for worker in pool:
        if not worker.is_busy and worker.process.exitcode is None:
            return worker
    if sum(worker.is_busy for worker in pool) == workers:
        return None
    pool.append(_Worker(grace))
    return pool[-1]


def _wait_for_news(pool: Sequence[_Worker[Any]]) -> None:
    connections = [worker.connection for worker in pool]
    wait_for_any([*connections, *(worker.process.sentinel for worker in pool)], LONGEST_WAIT)


def _end(pool: Sequence[_Worker[Any]], grace: float) -> None:
    """End all workers; kill those that still run after the grace time, or at a second Ctrl-C."""
    for worker in pool:
        worker.process.terminate()
    deadline = time.monotonic() + grace
    try:
        for worker in pool:
            worker.process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for worker in pool:
            worker.process.kill()
        for worker in pool:
            worker.process.join()
            worker.connection.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C, also from processes that start meanwhile."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, grace: float) -> None:
    """Run items until the parent hangs up; what a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, args=(grace,), daemon=True).start()
    try:
        while True:
            content = connection.recv_bytes()
            message = _attempted(content, connection)
            connection.send(message)
            if not message.goes_on:
                return
    except (EOFError, OSError):  # the parent has gone
        return


def _attempted(content: bytes, connection: Connection) -> _Message:
    """Run an item and return how it went."""
    try:
        function, item = pickle.loads(content)  # imports their modules, which takes its time
        connection.send(_Message(has_finished=False))
        return _finished(function(item) or "")
    except Interrupted as stop:  # it has saved its state; Ctrl-C is ignored here
        return _finished(f"it was stopped by SIGTERM (exit code {stop.exit_code})", goes_on=False)
    except BaseException as error:  # KeyboardInterrupt, too: nobody pressed Ctrl-C here
        return _finished(fault_told(error))


def _finished(reason: str, goes_on: bool = True) -> _Message:
    return _Message(True, reason[:LONGEST_REASON], goes_on)


def _end_with_parent(grace: float) -> None:
    """End with the parent even if that is killed; a training gets the time to save its state."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os._exit(1)
