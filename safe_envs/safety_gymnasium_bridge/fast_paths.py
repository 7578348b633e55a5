"""Whether the package runs its own code, or faster code with the same results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_fast: ContextVar[bool] = ContextVar("fast", default=False)


@contextmanager
def fast_paths(taken: bool) -> Iterator[None]:
    """Use the faster code in this block and thread, or not."""
    token = _fast.set(taken)
    try:
        yield
    finally:
        _fast.reset(token)


def is_fast() -> bool:
    """Return whether this thread is in a block of `fast_paths(True)`."""
    return _fast.get()
