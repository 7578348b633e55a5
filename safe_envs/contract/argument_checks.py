"""Argument checks, with errors that state the given value, what is allowed, and what to pass."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

MANY = 60  # above this number of known names, only the closest are listed
LISTED_OF_MANY = 10


def is_number(value: Any) -> bool:
    """Return whether this is one real number, Python's or NumPy's; a bool is not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_number(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
) -> None:
    """Raise ValueError unless low <= value <= high (low < value if `open_low`)."""
    if is_number(value) and low <= value <= high and not (open_low and value == low):
        return
    floor = "" if low == -math.inf else f" {'>' if open_low else '>='} {low:g}"
    ceiling = "" if high == math.inf else f"{' and' if floor else ''} <= {high:g}"
    raise ValueError(f"{name} is {value!r}; pass a number{floor}{ceiling}")


def check_count(**arguments: int) -> None:
    """Raise ValueError naming the first argument that is not a whole number >= 1."""
    for name, value in arguments.items():
        check_whole(name, value, low=1)


def check_whole(name: str, value: int, *, low: int) -> None:
    """Raise ValueError unless this is a whole number >= low."""
    if not (is_number(value) and isinstance(value, Integral) and value >= low):
        raise ValueError(f"{name} is {value!r}; pass a whole number >= {low}")


def check_flag(name: str, value: bool) -> None:
    """Raise ValueError unless this is True or False; the text "False" would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} is {value!r}; pass True or False")


def check_positive(**arguments: float) -> None:
    """Raise ValueError naming the first argument that is not a positive finite number."""
    for name, value in arguments.items():
        if not (is_number(value) and math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value!r}; pass a positive number")


def check_not_negative(**arguments: float) -> None:
    """Raise ValueError naming the first argument that is not a finite number >= 0."""
    for name, value in arguments.items():
        if not (is_number(value) and math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value!r}; pass a number >= 0")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError unless the value is one of the choices; it names the closest one."""
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is {value!r}; {closest_hint(value, choices)}pass one of {listed}")


def checked_array(name: str, given: Any, shape: tuple[int, ...], meaning: str = "") -> np.ndarray:
    """Return a new float64 array of the shape with finite entries.

    Args:
        name: name of the argument.
        given: the value.
        shape: the allowed shape.
        meaning: meaning of the entries, such as "position and velocity"; part of the error.

    Raises:
        ValueError: if it is not such an array.
    """
    wanted = f"an array of shape {shape}{f': {meaning}' if meaning else ''}"
    try:
        array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {given!r}, not numbers; pass {wanted}") from None
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; pass {wanted}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} {array.tolist()} contains NaN or infinite entries; pass {wanted}")
    return array


def closest_hint(name: Any, known: Iterable[str], alike: float = 0.6) -> str:
    """Return "did you mean 'X'? " for the closest known name, "" if none is close.

    Args:
        name: that is unknown.
        known: names.
        alike: how close it has to be, from 0 to 1, as `difflib` measures it.
    """
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=alike)
    return f"did you mean {close[0]!r}? " if close else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return "unknown KIND 'NAME'; did you mean ...? Known: ...".

    If there are many known names, only the closest are listed.
    """
    names = sorted(known)
    by_lower = {known_name.lower(): known_name for known_name in names}
    closest = difflib.get_close_matches(name.lower(), by_lower, n=LISTED_OF_MANY, cutoff=0.0)
    hint = f"did you mean {by_lower[closest[0]]!r}? " if closest else ""
    listed = names
    if len(names) > MANY:
        listed = [by_lower[each] for each in closest]
        listed[-1] += f" and {len(names) - len(listed)} others"
    return f"unknown {kind} {name!r}; {hint}Known: {', '.join(listed)}"
