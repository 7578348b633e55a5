"""Multiples of 1, 2 or 5 times a power of ten, which numbers are rounded to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DIGITS = 3  # significant ones at most, as many as pages show
TOLERANCE = 1e-9  # of a step, so that a multiple of it is not taken for the next one


@dataclass(frozen=True)
class Grid:
    """The multiples of a step."""

    mantissa: int  # 1, 2 or 5
    exponent: int  # of ten

    @property
    def step(self) -> float:
        """Distance of neighbors."""
        return self.at(1)

    def at(self, index: int) -> float:
        """Return a multiple of the step as the float that is closest to its decimal fraction."""
        return float(f"{index * self.mantissa}e{self.exponent}")

    def nearest(self, value: float) -> float:
        """Return the nearest multiple, of two equally near ones the larger."""
        return self.at(self._nearest(value))

    def below(self, value: float) -> float:
        """Return the largest multiple that is not above a value."""
        return self.at(math.floor(value / self.step + TOLERANCE))

    def above(self, value: float) -> float:
        """Return the smallest multiple that is not below a value."""
        return self.at(self._above(value))

    def beside(self, value: float, limit: float, *, up: bool = False) -> float:
        """Return the nearest multiple, or the next above, on the value's side of a limit."""
        index = self._above(value) if up else self._nearest(value)
        last = math.floor(limit / self.step + TOLERANCE)  # within the limit
        if value > limit:
            return self.at(max(index, last + 1))
        return min(self.at(min(index, last)), limit)

    def _nearest(self, value: float) -> int:
        return math.floor(value / self.step + 0.5 + TOLERANCE)

    def _above(self, value: float) -> int:
        return math.ceil(value / self.step - TOLERANCE)


FINEST = Grid(1, -12)


def grid_for(value: float, *, supported: float = 0.0, hidden: float = 0.0) -> Grid:
    """Return the grid that a number is rounded to.

    Its step is the largest of three, each 1, 2 or 5 times a power of ten: one that is at most
    `supported`, one that is at least `hidden`, and one that leaves three significant digits.

    Args:
        value: the number.
        supported: a step that its interval supports.
        hidden: a step that hides a single episode.
    """
    digits = abs(value) / 10 ** (DIGITS - 1)
    steps = (
        nice_grid(supported, (1, 2, 5)),
        nice_grid(hidden, (1, 2, 5, 10), up=True),
        nice_grid(digits, (1,)),
    )
    return max(steps, key=lambda grid: grid.step)


def nice_grid(size: float, mantissas: Sequence[int], *, up: bool = False) -> Grid:
    """Return the grid whose step is the next such number at or below a size, or at or above it.

    Args:
        size: at least 0.
        mantissas: the step is one of them times a power of ten.
        up: never go below the size.
    """
    if size <= FINEST.step:
        return FINEST
    exponent = math.floor(math.log10(size))
    share = size / 10.0**exponent  # from 1 to 10
    if up:
        return Grid(next(m for m in mantissas if m >= share * (1 - TOLERANCE)), exponent)
    return Grid(max(m for m in (1, *mantissas) if m <= max(share * (1 + TOLERANCE), 1)), exponent)
