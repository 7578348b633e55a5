"""Rendered pages, kept until something in the store changes."""

from __future__ import annotations

import gzip
import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from leaderboard.pages import Page

MOST_PAGES = 2000
FRESH_SECONDS = 1.0  # how long a page is served before the store is asked for changes
SHORTEST_PACKED = 1000  # [bytes]; shorter pages are sent as they are


@dataclass(frozen=True)
class CachedPage:
    """A page as it is sent."""

    content: bytes
    packed: bytes | None  # gzip
    media_type: str
    etag: str
    revision: int
    rendered_at: float  # on the cache's clock


class PageCache:
    """Keeps the most recently used pages; safe in threads.

    A page of an older revision is served while one thread renders the new one.

    Args:
        render: a path to its page, None if there is none.
        revision: of the store.
        moving: the paths of pages that change without a new revision, as they show progress.
        clock: seconds, rising.
        most: pages that are kept.
    """

    def __init__(
        self,
        render: Callable[[str], Page | None],
        revision: Callable[[], int],
        moving: Callable[[], frozenset[str]] = frozenset,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_PAGES,
    ) -> None:
        self._render = render
        self._revision = revision
        self._moving = moving
        self._clock = clock
        self._most = most
        self._pages: OrderedDict[str, CachedPage] = OrderedDict()
        self._lock = threading.Lock()
        self._rendering: dict[str, threading.Lock] = {}
        self._known_revision = -1
        self._known_moving: frozenset[str] = frozenset()
        self._checked_at = -math.inf

    def fresh(self, path: str) -> CachedPage | None:
        """Return a page that needs no work at all, None if it has to be asked for with `get`."""
        if self._age(self._checked_at) >= FRESH_SECONDS:
            return None
        page = self._pages.get(path)
        return page if page is not None and self._is_current(path, page) else None

    def get(self, path: str) -> CachedPage | None:
        """Return the page at a path, None if there is none."""
        self._look_for_changes()
        with self._lock:
            found = self._pages.get(path)
            if found is not None:
                self._pages.move_to_end(path)
                if self._is_current(path, found):
                    return found
            rendering = self._rendering.setdefault(path, threading.Lock())
        if found is not None and not rendering.acquire(blocking=False):
            return found  # somebody else renders it
        if found is None:
            rendering.acquire()
        try:
            return self._rendered(path)
        finally:
            rendering.release()
            with self._lock:
                self._rendering.pop(path, None)

    def _rendered(self, path: str) -> CachedPage | None:
        with self._lock:
            known = self._pages.get(path)
        if known is not None and self._is_current(path, known):
            return known
        revision, rendered_at = self._known_revision, self._clock()  # before the store is read
        page = self._render(path)
        if page is None:
            return None
        packed = gzip.compress(page.content, 6) if len(page.content) >= SHORTEST_PACKED else None
        etag = f'"{hashlib.sha256(page.content).hexdigest()[:24]}"'
        cached = CachedPage(page.content, packed, page.media_type, etag, revision, rendered_at)
        with self._lock:
            self._pages[path] = cached
            self._pages.move_to_end(path)
            while len(self._pages) > self._most:
                self._pages.popitem(last=False)
        return cached

    def _is_current(self, path: str, page: CachedPage) -> bool:
        if page.revision < self._known_revision:
            return False
        return path not in self._known_moving or self._age(page.rendered_at) < FRESH_SECONDS

    def _age(self, moment: float) -> float:
        return self._clock() - moment

    def _look_for_changes(self) -> None:
        if self._age(self._checked_at) >= FRESH_SECONDS:
            checked_at = self._clock()
            self._known_revision, self._known_moving = self._revision(), self._moving()
            self._checked_at = checked_at
