"""The message for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MANY = 60
TOLD_OF_MANY = 10


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return "unknown KIND 'NAME'; did you mean ...? Known: ...", the closest match first.

    Of very many names the closest are told.
    """
    names = sorted(known)
    by_lower = {known_name.lower(): known_name for known_name in names}
    closest = difflib.get_close_matches(name.lower(), by_lower, n=TOLD_OF_MANY, cutoff=0.0)
    hint = f"did you mean {by_lower[closest[0]]!r}? " if closest else ""
    told = names
    if len(names) > MANY:
        told = [by_lower[each] for each in closest]
        told[-1] += f" and {len(names) - len(told)} others"
    return f"unknown {kind} {name!r}; {hint}Known: {', '.join(told)}"
