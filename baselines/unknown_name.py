"""The message for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return "unknown KIND 'NAME'; did you mean ...? Known: ...", the closest match first."""
    names = sorted(known)
    by_lower = {known_name.lower(): known_name for known_name in names}
    closest = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)
    hint = f"did you mean {by_lower[closest[0]]!r}? " if closest else ""
    return f"unknown {kind} {name!r}; {hint}Known: {', '.join(names)}"
