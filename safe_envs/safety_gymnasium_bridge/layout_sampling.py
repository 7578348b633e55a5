"""Sampling a layout of objects at their minimum distances, as the package does, but faster.

Crowded scenes reject thousands of places per reset. The same places are drawn from the same random
stream and the same ones rejected; only the distances are computed in plain floats.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MOST_TRIES = 100  # places for one object before the layout starts over


def sample_layout(generator: Any) -> bool:
    """Draw a place for every object; return whether all were found."""
    layout: dict[str, np.ndarray] = {}
    taken: list[tuple[float, float, float]] = []
    for name, (areas, keepout) in generator.placements.items():
        place = _free_place(generator, areas, keepout, taken)
        if place is None:
            return False
        layout[name] = place
        taken.append((float(place[0]), float(place[1]), keepout))
    generator.layout = layout
    return True


def _free_place(
    generator: Any, areas: Any, keepout: float, taken: list[tuple[float, float, float]]
) -> np.ndarray | None:
    margin = generator.placements_margin
    apart = [(x, y, other + margin + keepout) for x, y, other in taken]
    for _ in range(MOST_TRIES):
        place: np.ndarray = generator.draw_placement(areas, keepout)
        px, py = place.tolist()
        if all(math.sqrt((px - x) ** 2 + (py - y) ** 2) >= gap for x, y, gap in apart):
            return place
    return None
