"""Writes files that are complete whenever they exist, also after a kill at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` when the block ends without an error.

    Until then, and after an error, `path` keeps its old content.

    Raises:
        OSError: if it cannot be written; the error names `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        if error.filename not in (None, str(temporary)):  # of another file
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except BaseException:
        _remove(temporary)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that either keeps its old content or has the whole new one."""
    with replacing(path) as file:
        file.write(content)


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # the error that is being raised says more
        temporary.unlink()
