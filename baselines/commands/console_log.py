"""Shows what long work has to say while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        mark = "[yellow]note:[/] " if record.levelno >= logging.WARNING else ""
        self._console.print(f"{mark}{escape(record.getMessage())}", soft_wrap=True)


@contextmanager
def logged_to(console: Console, package: str = "baselines") -> Iterator[None]:
    """Print the log of a package on a console.

    Args:
        console: where to.
        package: whose log.
    """
    logger, handler = logging.getLogger(package), _ConsoleHandler(console)
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates
