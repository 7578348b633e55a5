"""One thread for NumPy's matrix products, which are too small to be shared by several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from threading import Lock

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[None]:
    """Keep NumPy's BLAS to one thread; products of 64 x 64 matrices are six times slower on two.

    Results then do not depend on the number of processors either. Trainings that overlap, in
    threads or one within another, share the limit: the last one to end lifts it.
    """
    return _LIMIT.held()


class _SharedLimit:
    """The limit, as long as anyone holds it."""

    def __init__(self) -> None:
        self._lock, self._holders = Lock(), 0

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if not self._holders:
                self._limiter = _controller().limit(limits=1, user_api="blas")
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._limiter.restore_original_limits()


_LIMIT = _SharedLimit()


@lru_cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes some milliseconds
