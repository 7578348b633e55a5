"""Pictures of grid worlds, and of states without a position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
from safe_envs.rendering.lettering import write

CELL = 72  # [pixels]
EDGE = 40  # [pixels], left of and below the grid, for the numbers of rows and columns
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
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
    hazard_name: str = "hazard"
    goal_name: str = "goal"

    def draw(self, state: int) -> np.ndarray:
        """Return the frame with the agent in a state, (height, width, 3) uint8."""
        pygame = load_pygame()
        surface = pygame.Surface((EDGE + self.columns * CELL, self.rows * CELL + EDGE))
        surface.fill(BACKGROUND)
        marked = (
            (self.hazards, HAZARD, self.hazard_name, WHITE),
            (self.goals, GOAL, self.goal_name, BLACK),
        )
        for cells, color, name, letters in marked:
            for cell in cells:
                left, top, width, _ = box = self._box(cell)
                pygame.draw.rect(surface, color, box)
                write(surface, name, (left + width / 2, top + 3), letters, "midtop")
        for column in range(self.columns):
            for row in range(self.rows):
                pygame.draw.rect(surface, FAINT, self._box((column, row)), width=1)
        self._draw_axes(surface)
        place = self.places[state]
        if place is not None:
            left, top, width, height = self._box(place)
            center = (left + width // 2, top + height // 2 + 4)
            pygame.draw.circle(surface, INK, center, CELL // 3)
            pygame.draw.circle(surface, AGENT, center, CELL // 3 - 3)
        return frame_of(surface)

    def _draw_axes(self, surface: Any) -> None:
        """Number the columns and rows."""
        bottom = self.rows * CELL
        for column in range(self.columns):
            write(surface, f"{column}", (EDGE + (column + 0.5) * CELL, bottom + 12))
        for row in range(self.rows):
            write(surface, f"{row}", (EDGE - 12, bottom - (row + 0.5) * CELL))
        write(surface, "column", (EDGE + self.columns * CELL / 2, bottom + 29))
        write(surface, "row", (12, bottom / 2), upward=True)

    def _box(self, cell: Cell) -> tuple[int, int, int, int]:
        column, row = cell
        return EDGE + column * CELL, (self.rows - 1 - row) * CELL, CELL, CELL


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
    middle = RING_SIZE / 2
    for line, text in enumerate((f"state {state}", f"of {count} without positions")):
        write(surface, text, (middle, middle + 60 + 24 * line), size=24, background=BACKGROUND)
    return frame_of(surface)
