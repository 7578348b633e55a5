"""Makes untrusted text safe for HTML, links, CSV cells and tables."""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone
from typing import Any

from markupsafe import Markup

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
_LINK = re.compile(r"https://[A-Za-z0-9.-]+(:\d{1,5})?(/[!-~]*)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet takes such a cell for a formula


def visible(text: str) -> str:
    """Return the text with a mark in place of what is invisible or changes direction."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\N{NO-BREAK SPACE}" else "\ufffd" for c in text)


def shown(value: Any) -> Any:
    """Return what a template prints for a value: text made visible, other values unchanged."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def clipped(text: str, longest: int = 100) -> str:
    """Return the text, shortened if it is too long."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def https_link(text: str) -> str:
    """Return the address if it may become a link, else an empty text."""
    return text if len(text) <= 300 and _LINK.fullmatch(text) else ""


def csv_cell(value: Any) -> Any:
    """Return a cell that a spreadsheet does not take for a formula; numbers stay unchanged."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) or value.startswith(_FORMULA) else text


def short(number: float | None, *, signed: bool = False) -> str:
    """Return a number with three significant digits, as a whole number from 100 on."""
    if number is None or not math.isfinite(number):
        return MISSING
    sign = "+" if signed else ""
    if number == 0:
        text = "0"
    elif abs(number) >= 99.95:
        text = f"{number:{sign},.0f}"
    elif abs(number) >= 1e-3:
        text = f"{number:{sign}.{max(0, 2 - math.floor(math.log10(float(f'{abs(number):.2e}'))))}f}"
    else:
        text = f"{number:{sign}.2e}"
    return text.replace("-", MINUS)


def given(number: float) -> str:
    """Return a given number, such as a limit, without trailing zeros."""
    return f"{number:,.6g}".replace("-", MINUS)


def signed(number: float | None) -> str:
    """Return a number with its sign."""
    return short(number, signed=True)


def percent(share: float) -> str:
    """Return a share of 0 to 1 in percent."""
    return f"{short(100 * share)}\N{NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: "0.4 s", "2 s", "35 min", "4.8 h", "210 h"."""
    if seconds < 0.95:
        return f"{seconds:.1g} s" if seconds >= 0.01 else "< 0.01 s"
    for unit, size, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, math.inf)):
        amount = seconds / size
        text = f"{amount:.1f}".removesuffix(".0") if unit == "h" and amount < 9.95 else ""
        text = text or f"{amount:,.0f}"
        if round(amount) < most:
            return f"{text} {unit}"
    return MISSING


def whole(number: float) -> str:
    """Return a whole number with thousands separators."""
    return f"{number:,.0f}".replace("-", MINUS)


def day(seconds: float | None) -> str:
    """Return the date of a time, in UTC."""
    if seconds is None:
        return MISSING
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")
