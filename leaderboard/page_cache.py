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
OLD_SECONDS = 10.0  # a page of this age is rendered anew: progress is no change in the store
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
        clock: seconds, rising.
        most: pages that are kept.
    """

    def __init__(
        self,
        render: Callable[[str], Page | None],
        revision: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_PAGES,
    ) -> None:
        self._render = render
        self._revision = revision
        self._clock = clock
        self._most = most
        self._pages: OrderedDict[str, CachedPage] = OrderedDict()
        self._lock = threading.Lock()
        self._rendering: dict[str, threading.Lock] = {}
        self._known_revision = -1
        self._checked_at = -math.inf

    def fresh(self, path: str) -> CachedPage | None:
        """Return a page that needs no work at all, None if it has to be asked for with `get`."""
        if self._clock() - self._checked_at >= FRESH_SECONDS:
            return None
        page = self._pages.get(path)
        return page if page is not None and self._is_current(page, self._known_revision) else None

    def get(self, path: str) -> CachedPage | None:
        """Return the page at a path, None if there is none."""
        revision = self._current_revision()
        with self._lock:
            found = self._pages.get(path)
            if found is not None:
                self._pages.move_to_end(path)
                if self._is_current(found, revision):
                    return found
            rendering = self._rendering.setdefault(path, threading.Lock())
        if found is not None and not rendering.acquire(blocking=False):
            return found  # somebody else renders it
        if found is None:
            rendering.acquire()
        try:
            return self._rendered(path, revision)
        finally:
            rendering.release()
            with self._lock:
                self._rendering.pop(path, None)

    def _rendered(self, path: str, revision: int) -> CachedPage | None:
        with self._lock:
            known = self._pages.get(path)
        if known is not None and self._is_current(known, revision):
            return known
        rendered_at = self._clock()
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

    def _is_current(self, page: CachedPage, revision: int) -> bool:
        return page.revision >= revision and self._clock() - page.rendered_at < OLD_SECONDS

    def _current_revision(self) -> int:
        now = self._clock()
        if now - self._checked_at >= FRESH_SECONDS:
            self._known_revision = self._revision()
            self._checked_at = now
        return self._known_revision
