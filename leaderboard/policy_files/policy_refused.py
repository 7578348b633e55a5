"""The error of a file that is not run, and how names from the file are written in it."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST_NAME = 60


class PolicyRefused(ValueError):
    """The file is no policy that is run; the message names what is wrong and what is allowed."""


def shortened(text: str) -> str:
    """Return a name from the file, fit for a message: printable ASCII of bounded length."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:_LONGEST_NAME])
    return plain if len(text) <= _LONGEST_NAME else plain + "..."


def listed(names: Iterable[str]) -> str:
    """Return names of ours in alphabetic order."""
    return ", ".join(sorted(names))
