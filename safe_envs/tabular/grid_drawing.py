"""Pictures of grid worlds, and of states without a position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safe_envs.rendering.frames import (
    AGENT,
    BACKGROUND,
    FAINT,
    GOAL,
    HAZARD,
    INK,
    frame_of,
    load_pygame,
)

CELL = 64  # [pixels]
RING_SIZE = 480  # [pixels]
Cell = tuple[int, int]  # column, row; row 0 is drawn at the bottom


@dataclass(frozen=True)
class GridPicture:
    """The layout of a grid world."""

    columns: int
    rows: int
    hazards: tuple[Cell, ...]
    goals: tuple[Cell, ...]
    places: tuple[Cell | None, ...]  # the cell of each state; None is not drawn

    def draw(self, state: int) -> np.ndarray:
        """Return the frame with the agent in a state, (height, width, 3) uint8."""
        pygame = load_pygame()
        surface = pygame.Surface((self.columns * CELL, self.rows * CELL))
        surface.fill(BACKGROUND)
        for cells, color in ((self.hazards, HAZARD), (self.goals, GOAL)):
            for cell in cells:
                pygame.draw.rect(surface, color, self._box(cell))
        for column in range(self.columns):
            for row in range(self.rows):
                pygame.draw.rect(surface, FAINT, self._box((column, row)), width=1)
        place = self.places[state]
        if place is not None:
            left, top, width, height = self._box(place)
            center = (left + width // 2, top + height // 2)
            pygame.draw.circle(surface, INK, center, CELL // 3)
            pygame.draw.circle(surface, AGENT, center, CELL // 3 - 3)
        return frame_of(surface)

    def _box(self, cell: Cell) -> tuple[int, int, int, int]:
        column, row = cell
        return column * CELL, (self.rows - 1 - row) * CELL, CELL, CELL


def draw_ring(state: int, count: int) -> np.ndarray:
    """Return `count` states without a position as dots on a circle, with the current one marked."""
    pygame = load_pygame()
    surface = pygame.Surface((RING_SIZE, RING_SIZE))
    surface.fill(BACKGROUND)
    radius = RING_SIZE / 2 - 30
    spacing = 2 * np.pi * radius / count
    for other in range(count):
        angle = 2 * np.pi * other / count
        center = (RING_SIZE / 2 + radius * np.sin(angle), RING_SIZE / 2 - radius * np.cos(angle))
        if other == state:
            pygame.draw.line(surface, FAINT, (RING_SIZE / 2, RING_SIZE / 2), center, width=3)
            pygame.draw.circle(surface, INK, center, 14)
            pygame.draw.circle(surface, AGENT, center, 12)
        else:
            pygame.draw.circle(surface, FAINT, center, max(2, min(8, int(0.3 * spacing))))
    return frame_of(surface)
