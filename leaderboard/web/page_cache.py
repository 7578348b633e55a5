"""Keeps rendered pages until the store changes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from leaderboard.store.store_errors import StoreUnavailable
from leaderboard.web.pages import Page

log = logging.getLogger(__name__)

LARGEST_CACHE = 256 * 1024 * 1024  # [bytes] of pages
FRESH_SECONDS = 1.0  # how long pages are served before the store is checked again
PATIENCE = 0.1  # [s] that a visitor waits for the new version of a cached page
REST = 10.0  # a page that took t seconds to render is kept for at least 10 t
SHORTEST_PACKED = 1000  # [bytes]; shorter pages are sent uncompressed


@dataclass(frozen=True)
class CachedPage:
    """A rendered page."""

    content: bytes
    packed: bytes | None  # gzip
    media_type: str
    etag: str
    revision: int
    rendered_at: float  # on the cache's clock, when rendering began
    seconds: float  # that rendering took

    @property
    def size(self) -> int:
        """Memory that it takes [bytes]."""
        return len(self.content) + len(self.packed or b"")


@dataclass(frozen=True)
class Changes:
    """The state of the store, as far as it changes pages."""

    revision: int
    moving: frozenset[str]  # paths of pages that change without a new revision: progress


class PageCache:
    """Keeps the most recently used pages; for one event loop.

    Pages are rendered in threads, each only once however many visitors request it. A visitor who
    requests a page that has changed waits a moment for the new version, and gets the old one if
    that takes longer or if other pages are being renewed. A page that takes long is renewed less
    often. While the store cannot be read, cached pages are served as they are. There is one thread
    for cached pages and one for new ones: requests for ever new pages do not delay the renewal of
    popular pages, and the thread that answers competes with few others.

    Args:
        render: returns the page at a path, None if there is none.
        changes: returns the present state of the store.
        clock: increasing seconds.
        largest: memory for pages [bytes].
    """

    def __init__(
        self,
        render: Callable[[str], Page | None],
        changes: Callable[[], Changes],
        clock: Callable[[], float] = time.monotonic,
        largest: int = LARGEST_CACHE,
    ) -> None:
        self._render = render
        self._changes = changes
        self._clock = clock
        self._largest = largest
        self._size = 0
        self._pages: OrderedDict[str, CachedPage] = OrderedDict()
        self._renewals = 0
        self._running: dict[str, asyncio.Future[CachedPage | None]] = {}
        self._known = Changes(-1, frozenset())
        self._checked_at = -math.inf
        self._checking: asyncio.Future[Changes] | None = None
        self._checker, self._renewer, self._newcomer = (ThreadPoolExecutor(1) for _ in range(3))

    async def get(self, path: str) -> CachedPage | None:
        """Return the page at a path, None if there is none."""
        if self._clock() - self._checked_at >= FRESH_SECONDS:
            await self._check()
        page = self._pages.get(path)
        if page is not None:
            self._pages.move_to_end(path)
            if self._is_current(path, page):
                return page
        if page is None:
            return await asyncio.shield(
                self._running.get(path) or self._start(path, self._newcomer)
            )
        return await self._renewed(path, page)

    async def _renewed(self, path: str, page: CachedPage) -> CachedPage | None:
        """Return the new version of a cached page if that takes only a moment, else the old one."""
        if path in self._running:
            return page
        is_idle = self._renewals == 0
        self._renewals += 1
        rendering = self._start(path, self._renewer)
        rendering.add_done_callback(self._renewal_ended)
        if not is_idle:
            return page
        await asyncio.wait({rendering}, timeout=PATIENCE)
        if not rendering.done() or isinstance(rendering.exception(), StoreUnavailable):
            return page
        return rendering.result()

    def _renewal_ended(self, _: asyncio.Future[CachedPage | None]) -> None:
        self._renewals -= 1

    async def _check(self) -> None:
        """Check the store for changes; wait only a moment unless it is the first time."""
        if self._checking is None:
            loop = asyncio.get_running_loop()
            self._checking = loop.run_in_executor(self._checker, self._changes)
            self._checking.add_done_callback(self._checked)
        checking = self._checking
        await asyncio.wait({checking}, timeout=None if self._known.revision < 0 else PATIENCE)
        if checking.done() and not isinstance(checking.exception(), StoreUnavailable):
            checking.result()  # raises if the check failed

    def _checked(self, checking: asyncio.Future[Changes]) -> None:
        self._checking = None
        if checking.cancelled():
            return
        error = checking.exception()
        if error is None:
            self._known = checking.result()
        if isinstance(error, StoreUnavailable):
            log.warning("pages are served as they are: %s", error)
        if error is None or isinstance(error, StoreUnavailable):
            self._checked_at = self._clock()

    def _start(self, path: str, executor: Executor) -> asyncio.Future[CachedPage | None]:
        loop = asyncio.get_running_loop()
        rendering = loop.run_in_executor(executor, self._rendered, path)
        self._running[path] = rendering
        rendering.add_done_callback(lambda done: self._keep(path, done))
        return rendering

    def _rendered(self, path: str) -> CachedPage | None:
        """Return a page of the present store, which may be newer than the noted revision."""
        revision, rendered_at = self._known.revision, self._clock()
        page = self._render(path)
        if page is None:
            return None
        packed = gzip.compress(page.content, 6) if len(page.content) >= SHORTEST_PACKED else None
        etag = f'"{hashlib.sha256(page.content).hexdigest()[:24]}"'
        seconds = self._clock() - rendered_at
        return CachedPage(
            page.content, packed, page.media_type, etag, revision, rendered_at, seconds
        )

    def _keep(self, path: str, done: asyncio.Future[CachedPage | None]) -> None:
        del self._running[path]
        if done.cancelled() or done.exception() is not None:
            return
        old, page = self._pages.pop(path, None), done.result()
        self._size -= old.size if old else 0
        if page is None:
            return
        self._pages[path] = page
        self._size += page.size
        while self._size > self._largest:
            self._size -= self._pages.popitem(last=False)[1].size

    def _is_current(self, path: str, page: CachedPage) -> bool:
        """Return whether a page may be served without being renewed."""
        age = self._clock() - page.rendered_at
        if age < (1.0 + REST) * page.seconds:
            return True
        if page.revision < self._known.revision:
            return False
        return path not in self._known.moving or age < FRESH_SECONDS
