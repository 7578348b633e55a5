"""Runs a function on many inputs in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_sentinel
from typing import TypeVar

Item = TypeVar("Item")
Function = Callable[[Item], None]

DIED = "the worker process died (killed, or out of memory)"


def run_in_processes(
    function: Function[Item], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, str]]:
    """Yield each item when the function has finished with it, with "" or why it failed.

    At most `workers` items run at a time. If a worker dies, the items that were running are run
    again, each in its own process, so that only the one that kills its process is lost. Leaving the
    iterator early, also by Ctrl-C, ends the workers.

    Args:
        function: a module-level function; it runs in a spawned process.
        items: its inputs, picklable.
        workers: number of processes.
    """
    waiting = list(reversed(items))
    while waiting:
        suspects = yield from _run_until_broken(function, waiting, workers)
        for item in suspects:
            yield from _run_alone(function, item)


def _run_until_broken(
    function: Function[Item], waiting: list[Item], workers: int
) -> Generator[tuple[Item, str], None, list[Item]]:
    """Empty `waiting` from its end; return the items that were running when a worker died."""
    suspects: list[Item] = []
    with _pool(workers) as pool:
        running: dict[Future[None], Item] = {}
        while (waiting and not suspects) or running:
            while waiting and not suspects and len(running) < workers:
                try:
                    running[pool.submit(function, waiting[-1])] = waiting[-1]
                except BrokenProcessPool:
                    suspects.append(waiting[-1])
                waiting.pop()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    suspects.append(item)
                else:
                    yield item, _reason(error)
    return suspects


def _run_alone(function: Function[Item], item: Item) -> Iterator[tuple[Item, str]]:
    with _pool(1) as pool:
        error = pool.submit(function, item).exception()
    yield item, _reason(error)


def _reason(error: BaseException | None) -> str:
    if isinstance(error, BrokenProcessPool):
        return DIED
    return f"{type(error).__name__}: {error}" if error else ""


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Let the parent handle Ctrl-C, and end with the parent even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_sentinel([parent.sentinel])
        os._exit(1)
