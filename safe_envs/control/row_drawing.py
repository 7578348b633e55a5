"""Pictures of a program's rows: which are met, and which are violated by how much."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from safe_envs.rendering.frames import BACKGROUND, FAINT, GOAL, HAZARD, INK, frame_of, load_pygame
from safe_envs.rendering.lettering import GOAL_WORDS, write

SIZE = 480  # [pixels]
LEFT, RIGHT = 62, 470  # of the bars [pixels]
MIDDLE = 236  # where the violation is 0 [pixels]
DECADE = 26.0  # height of a factor of 10 [pixels]
FIRST, LAST = -5, 2  # powers of 10 of the smallest and largest bar
GAP = 14  # between inequalities and equalities [pixels]


def draw_rows(excess: np.ndarray, inequalities: int, tolerance: float) -> np.ndarray:
    """Return bars of all rows on a logarithmic scale, as a frame.

    Args:
        excess: left side - right side of the inequalities, then |left - right| of the equalities.
        inequalities: how many come first.
        tolerance: up to which a row is met.
    """
    pygame = load_pygame()
    surface = pygame.Surface((SIZE, SIZE))
    surface.fill(BACKGROUND)
    _draw_axis(pygame, surface)
    width = (RIGHT - LEFT - GAP) / len(excess)
    for place, number in enumerate(excess.tolist()):
        left = LEFT + place * width + (GAP if place >= inequalities else 0)
        height = max(1, round(_height(abs(number))))
        top = MIDDLE - height if number > 0.0 else MIDDLE
        color = HAZARD if number > tolerance else GOAL
        across = max(1, round(0.7 * width))
        pygame.draw.rect(surface, color, (round(left), top, across, height))
    pygame.draw.line(surface, INK, (LEFT - 6, MIDDLE), (RIGHT, MIDDLE))
    edge = LEFT + inequalities * width
    write(surface, "inequalities", ((LEFT + edge) / 2, SIZE - 14))
    write(surface, "equalities", ((edge + GAP + RIGHT) / 2, SIZE - 14))
    write(surface, f"red: violated by more than {tolerance:g}", (10, 8), HAZARD, "topleft")
    write(surface, "green: met; downward: slack", (280, 8), GOAL_WORDS, "topleft")
    return frame_of(surface)


def _height(number: float) -> float:
    """Return the height of a bar [pixels]."""
    if number <= 0.0:
        return 0.0
    return DECADE * min(max(math.log10(number) - FIRST, 0.0), LAST - FIRST)


def _draw_axis(pygame: Any, surface: Any) -> None:
    """Draw a line and a number for each second power of 10, upward and downward."""
    for power in range(FIRST + 1, LAST + 1):
        for sign in (-1, 1):
            level = round(MIDDLE + sign * _height(10.0**power))
            pygame.draw.line(surface, FAINT, (LEFT - 6, level), (RIGHT, level))
            if power % 2 == 0:
                write(surface, f"{10.0**power:g}", (LEFT - 10, level), anchor="midright")
    write(surface, "0", (LEFT - 10, MIDDLE), anchor="midright")
