"""Rendered pages, kept until something in the store changes."""

from __future__ import annotations

import gzip
import hashlib
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


class PageCache:
    """Keeps the most recently used pages; safe in threads.

    A page of an older revision is served while one thread renders the new one.

    Args:
        render: a path to its page, None if there is none.
        revision: of the store.
    """

    def __init__(self, render: Callable[[str], Page | None], revision: Callable[[], int]) -> None:
        self._render = render
        self._revision = revision
        self._pages: OrderedDict[str, CachedPage] = OrderedDict()
        self._lock = threading.Lock()
        self._rendering: dict[str, threading.Lock] = {}
        self._known_revision = -1
        self._checked_at = -FRESH_SECONDS

    def fresh(self, path: str) -> CachedPage | None:
        """Return a page that needs no work at all, None if it has to be asked for with `get`."""
        if time.monotonic() - self._checked_at >= FRESH_SECONDS:
            return None
        page = self._pages.get(path)
        return page if page is not None and page.revision == self._known_revision else None

    def get(self, path: str) -> CachedPage | None:
        """Return the page at a path, None if there is none."""
        revision = self._current_revision()
        with self._lock:
            found = self._pages.get(path)
            if found is not None:
                self._pages.move_to_end(path)
                if found.revision == revision:
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
        if known is not None and known.revision >= revision:
            return known
        page = self._render(path)
        if page is None:
            return None
        packed = gzip.compress(page.content, 6) if len(page.content) >= SHORTEST_PACKED else None
        digest = hashlib.sha256(page.content).hexdigest()[:24]
        cached = CachedPage(page.content, packed, page.media_type, f'"{digest}"', revision)
        with self._lock:
            self._pages[path] = cached
            self._pages.move_to_end(path)
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        return cached

    def _current_revision(self) -> int:
        if time.monotonic() - self._checked_at >= FRESH_SECONDS:
            self._known_revision = self._revision()
            self._checked_at = time.monotonic()
        return self._known_revision
