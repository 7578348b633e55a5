"""Axes of charts: linear ones, and logarithmic ones with a place for zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.web.safe_text import given

DECADES = 4  # shown at most; smaller amounts are at the left edge
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
WIDE = 20  # ratio of the largest amount to the median from which an axis is logarithmic


@dataclass(frozen=True)
class Axis:
    """One axis; without ticks here the drawing script chooses them."""

    label: str
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()  # positions and texts
    low: float | None = None  # left end
    high: float | None = None
    start: float = 0.0  # smallest amount that a logarithmic axis tells from zero

    def place(self, amount: float) -> float:
        """Return where an amount is drawn."""
        if not self.log or amount >= self.start or self.low is None:
            return amount
        return self.low

    @property
    def title(self) -> str:
        """What is written at the axis; a logarithmic one says so."""
        return f"{self.label} (log scale)" if self.log else self.label

    def plain(self) -> dict:
        """Return the axis as JSON data."""
        return {
            "label": self.title,
            "log": self.log,
            "ticks": [list(tick) for tick in self.ticks],
            "low": self.low,
            "high": self.high,
        }


def share_axis() -> Axis:
    """Return a logarithmic axis of shares, down to one in a hundred."""
    ticks = tuple((share, f"{given(100 * share)} %") for share in SHARES)
    return Axis("share of episodes with cost > c", True, ticks, SHARES[0], 1.0)


def part_axis() -> Axis:
    """Return a linear axis of shares."""
    ticks = tuple((share / 100, f"{share} %") for share in (0, 25, 50, 75, 100))
    return Axis("share of episodes at or below", False, ticks, 0.0, 1.0)


def amount_axis(amounts: Sequence[float], label: str, *, always: bool = True) -> Axis:
    """Return an axis of amounts >= 0, logarithmic with zero at its left end.

    Args:
        amounts: that have to fit on it.
        label: of the axis.
        always: False keeps the axis linear unless the amounts differ widely.
    """
    positive = sorted(amount for amount in amounts if amount > 0 and math.isfinite(amount))
    if not positive or (min(amounts) < 0):
        return Axis(label)
    high = float(positive[-1])
    if not always and high < WIDE * positive[len(positive) // 2]:
        return Axis(label, low=0.0, high=high)
    start = _round_down(max(positive[0], high / 10**DECADES))
    high = max(high, 2 * start)
    has_less = min(amounts) < start
    low = float(start * (high / start) ** -0.1) if has_less else start
    ticks = [(tick, given(tick)) for tick in _ticks(start, high)]
    if has_less:
        is_zero = max((a for a in amounts if a < start), default=0.0) == 0.0
        ticks.insert(0, (low, "0" if is_zero else f"< {given(start)}"))
        ticks = [ticks[0], *(tick for tick in ticks[1:] if tick[0] > start * 1.0001)]
    return Axis(label, True, tuple(ticks), low, high, start)


def _round_down(number: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above the number."""
    power = 10.0 ** math.floor(math.log10(number))
    return max(step * power for step in (1, 2, 5) if step * power <= number * (1 + 1e-9))


def _ticks(start: float, high: float) -> list[float]:
    """Return about six round numbers for a logarithmic axis."""
    first, last = math.floor(math.log10(start)), math.ceil(math.log10(high))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        ticks = [tick for tick in ticks if start * 0.9999 <= tick <= high * 1.0001]
        if len(ticks) <= 6:
            break
    return ticks
