"""The learning curves of several seeds as one line with a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import trim_mean

from leaderboard.web.page_data import Curve

GRID_POINTS = 200  # evenly spaced


@dataclass(frozen=True)
class SeedBand:
    """Interquartile mean and extremes over seeds on a common grid of steps."""

    steps: np.ndarray  # (g,)
    middle: np.ndarray  # (g,)
    lowest: np.ndarray  # (g,)
    highest: np.ndarray  # (g,)


def return_band(curves: Sequence[Curve]) -> SeedBand | None:
    """Return the returns of all seeds, None if they have no step in common."""
    return _band([(curve.steps, curve.returns) for curve in curves])


def cost_band(curves: Sequence[Curve], index: int) -> SeedBand | None:
    """Return one constraint's costs of all seeds, None if they have no step in common."""
    return _band([(c.steps, c.costs[index]) for c in curves if index < len(c.costs)])


def _band(lines: Sequence[tuple[Sequence[float], Sequence[float]]]) -> SeedBand | None:
    """Return the lines joined linearly, from the latest start to the earliest end."""
    known = [line for line in map(_finite, lines) if len(line[0])]
    if not known:
        return None
    start, end = max(x[0] for x, _ in known), min(x[-1] for x, _ in known)
    if start > end:
        return None
    grid = np.linspace(start, end, GRID_POINTS if end > start else 1)
    values = np.stack([np.interp(grid, x, y) for x, y in known])  # (seeds, g)
    return SeedBand(grid, trim_mean(values, 0.25, axis=0), values.min(axis=0), values.max(axis=0))


def _finite(line: tuple[Sequence[float], Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the finite points of a line, by rising steps."""
    length = min(len(line[0]), len(line[1]))
    steps, values = np.array(line[0][:length], float), np.array(line[1][:length], float)
    good = np.isfinite(steps) & np.isfinite(values)
    order = np.argsort(steps[good], kind="stable")
    return steps[good][order], values[good][order]
