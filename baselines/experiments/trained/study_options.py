"""What the commands that train the studies of a TOML file share."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol


class Asking(Protocol):
    """A study."""

    @property
    def question(self) -> str:
        """What it asks."""
        ...


def listing(studies: Mapping[str, Asking]) -> str:
    """Return the studies' names and questions, a line each."""
    width = max(map(len, studies), default=0)
    return "\n".join(f"{name:<{width}}  {study.question}" for name, study in studies.items())


def check_writable(option: str, file: Path) -> None:
    """Raise ValueError if no file of that name can be written; its folder is made.

    Args:
        option: that the file is passed with.
        file: to check; it is not touched.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=file.parent):
            pass
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise ValueError(
            f"{option} is {file}, which cannot be written: {error.strerror}; pass another file"
        ) from error
