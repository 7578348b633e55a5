"""The error for a file that is not accepted, and how it quotes names from the file."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST_NAME = 60


class PolicyRefused(ValueError):
    """The policy file is not accepted; the message says what is wrong and what is allowed."""


def shortened(text: str) -> str:
    """Return a name from the file as printable ASCII of limited length."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:_LONGEST_NAME])
    return plain if len(text) <= _LONGEST_NAME else plain + "..."


def listed(names: Iterable[str]) -> str:
    """Return our own names in alphabetical order."""
    return ", ".join(sorted(names))
