"""Files of agents that earlier versions of this project saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def refusing_moved_modules(path: Any) -> Iterator[None]:
    """Say that a file is too old where loading it asks for a module that has moved.

    Raises:
        ValueError: if it does.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("agents", "safe_envs"):
            raise
        raise ValueError(
            f"{path} was saved by an earlier version, whose module {error.name} has moved; "
            "train the agent again"
        ) from error
