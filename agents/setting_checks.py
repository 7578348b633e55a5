"""Checks of numeric settings, with errors that say what came and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection


def check_number(
    name: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
) -> None:
    """Raise ValueError unless low <= value <= high (low < value if `open_low`)."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and low <= value <= high and not (open_low and value == low):
        return
    floor = "" if low == -math.inf else f" {'>' if open_low else '>='} {low:g}"
    ceiling = "" if high == math.inf else f"{' and' if floor else ''} <= {high:g}"
    raise ValueError(f"{name} is {value!r}; pass a number{floor}{ceiling}")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; pass one of {', '.join(map(repr, choices))}")
