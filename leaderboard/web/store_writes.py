"""Runs the service's changes to the store apart from its reads; none waits for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from leaderboard.store.store_errors import StoreUnavailable

THREADS = 4
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class StoreWrites:
    """Threads for changes to the store; for one event loop.

    A change waits while another process writes. If changes shared the threads of the reads, a store
    that takes no changes would stop the reads, too.

    Args:
        seconds: that a change waits for a thread before it is refused.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store-writes")
        self._free = asyncio.Semaphore(THREADS)

    async def run(
        self,
        change: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **named: Parameters.kwargs,
    ) -> Result:
        """Return what a change returns.

        Raises:
            StoreUnavailable: if the store takes no changes at present.
        """
        try:
            await asyncio.wait_for(self._free.acquire(), self._seconds)
        except asyncio.TimeoutError:
            raise StoreUnavailable("the store is busy with other changes; try again") from None
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: change(*arguments, **named))
        finally:
            self._free.release()
