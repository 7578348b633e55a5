"""Pictures of the phase plane, of the regression problem and of a vehicle among ellipses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
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
from safe_envs.rendering.lettering import GOAL_WORDS, Anchor, write

SIZE = 480  # [pixels]
SHADED_CELLS = 120  # per axis
SAFE_SHADE = (222, 235, 247)
ALLOWED_SHADE = (229, 245, 224)


def draw_phase_plane(
    state: tuple[float, float], box: float, in_safe_set: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the phase plane with the box, the shaded safe set and the state, as a frame."""
    pygame = load_pygame()
    surface = pygame.Surface((SIZE, SIZE))
    surface.fill(BACKGROUND)
    scale = SIZE / (2.4 * box)
    cell = 2.0 * box / SHADED_CELLS
    for position, velocity in _safe_cells(box, in_safe_set):
        left = SIZE / 2 + (position - cell / 2) * scale
        top = SIZE / 2 - (velocity + cell / 2) * scale
        pygame.draw.rect(
            surface, SAFE_SHADE, (int(left), int(top), int(cell * scale) + 1, int(cell * scale) + 1)
        )
    half = int(box * scale)
    middle = SIZE // 2
    pygame.draw.line(surface, FAINT, (0, middle), (SIZE, middle))
    pygame.draw.line(surface, FAINT, (middle, 0), (middle, SIZE))
    pygame.draw.rect(surface, HAZARD, (middle - half, middle - half, 2 * half, 2 * half), width=3)
    pygame.draw.circle(surface, GOAL, (middle, middle), 6)
    point = np.clip((SIZE / 2 + state[0] * scale, SIZE / 2 - state[1] * scale), 0, SIZE - 1).astype(
        int
    )
    _name_phase_plane(surface, box, half)
    pygame.draw.circle(surface, INK, point.tolist(), 10)
    pygame.draw.circle(surface, AGENT, point.tolist(), 8)
    return frame_of(surface)


def _name_phase_plane(surface: Any, box: float, half: int) -> None:
    """Name the axes, the box, the safe set and the target; `half` is the box's size in pixels."""
    middle = SIZE // 2
    for sign in (-1, 1):
        number = f"{sign * box:g}"
        write(surface, number, (middle + sign * half, SIZE - 28))
        write(surface, number, (middle - half - 6, middle - sign * half), anchor="midright")
    write(surface, "position", (middle, SIZE - 14))
    write(surface, "velocity", (14, middle), upward=True)
    write(surface, "box: cost 1 a step outside", (middle, middle - half - 14), HAZARD)
    inside = middle - half + 12
    write(surface, "blue: safe set, where episodes start", (inside, inside), INK, "topleft")
    write(surface, "target", (middle + 10, middle + 8), GOAL_WORDS, "topleft")


@cache
def _safe_cells(
    box: float, in_safe_set: Callable[[np.ndarray], np.ndarray]
) -> tuple[tuple[float, float], ...]:
    centers = (np.arange(SHADED_CELLS) + 0.5) / SHADED_CELLS * 2.0 * box - box
    cells = np.stack(np.meshgrid(centers, centers), axis=-1).reshape(-1, 2)
    return tuple(map(tuple, cells[in_safe_set(cells)].tolist()))


def draw_regression(
    x: float,
    answer: float | None,
    target: Callable[[np.ndarray], np.ndarray],
    bound: float,
    constrained: float,
) -> np.ndarray:
    """Return the curve, the allowed band, the question x and the answer given, as a frame."""
    pygame = load_pygame()
    surface = pygame.Surface((SIZE, SIZE))
    surface.fill(BACKGROUND)
    scale = SIZE / 8.0  # x and y from -4 to 4

    def pixel(across: float, up: float) -> tuple[int, int]:
        return round(SIZE / 2 + across * scale), round(SIZE / 2 - up * scale)

    left, top = pixel(-constrained, bound)
    width, height = round(2 * constrained * scale), round(2 * bound * scale)
    pygame.draw.rect(surface, ALLOWED_SHADE, (left, top, width, height))
    pygame.draw.rect(surface, HAZARD, (left, top, width, height), width=2)
    pygame.draw.line(surface, FAINT, pixel(-4, 0), pixel(4, 0))
    curve = np.linspace(-4.0, 4.0, 4 * SIZE)
    points = [pixel(a, b) for a, b in zip(curve, target(curve), strict=True)]
    pygame.draw.aalines(surface, INK, False, points)
    x = min(max(x, -4.0), 4.0)
    pygame.draw.line(surface, AGENT, pixel(x, -4), pixel(x, 4))
    if answer is not None:
        pygame.draw.circle(surface, AGENT, pixel(x, answer), 8)
    _name_regression(surface, bound, constrained, scale)
    return frame_of(surface)


def _name_regression(surface: Any, bound: float, constrained: float, scale: float) -> None:
    """Name the axes, the curve, the band and the dot; `scale` is the number of pixels a unit."""
    middle = SIZE / 2
    words = f"red: edge of the band |y| <= {bound:g} where |x| <= {constrained:g}; cost 1 outside"
    labels: list[tuple[str, tuple[float, float], tuple[int, int, int], Anchor]] = [
        ("x", (middle, SIZE - 14), INK, "center"),
        ("y", (12, middle), INK, "center"),
        ("black: f(x), the target", (10, 8), INK, "topleft"),
        (words, (10, 28), HAZARD, "topleft"),
        ("blue: the x asked about, and the answer y", (10, 48), AGENT, "topleft"),
    ]
    for sign in (-1, 1):
        across = middle + sign * constrained * scale, SIZE - 28
        labels.append((f"{sign * constrained:g}", across, INK, "center"))
        labels.append((f"{sign * bound:g}", (6, middle - sign * bound * scale), INK, "midleft"))
    for text, place, color, anchor in labels:
        write(surface, text, place, color, anchor, background=BACKGROUND)


def draw_course(
    place: tuple[float, float, float],
    look_ahead: float,
    ellipses: Sequence[tuple[float, float, float, float]],
    window: tuple[float, float, float],
) -> np.ndarray:
    """Return a vehicle among ellipses from above, and its goal at the origin, as a frame.

    Args:
        place: x, y [m] and heading [rad].
        look_ahead: how far ahead the point is that must not enter an ellipse [m].
        ellipses: c_x, c_y, r_x, r_y of each [m].
        window: left, bottom and width of what is drawn [m].
    """
    pygame = load_pygame()
    surface = pygame.Surface((SIZE, SIZE))
    surface.fill(BACKGROUND)
    left, bottom, width = window
    scale = SIZE / width

    def pixel(x: float, y: float) -> tuple[int, int]:
        across = np.clip(((x - left) * scale, SIZE - (y - bottom) * scale), 0, SIZE - 1)
        return round(across[0]), round(across[1])

    for x, y, across, up in ellipses:
        corner = (x - across - left) * scale, SIZE - (y + up - bottom) * scale
        pygame.draw.ellipse(surface, HAZARD, (*corner, 2.0 * across * scale, 2.0 * up * scale))
    pygame.draw.circle(surface, GOAL, pixel(0.0, 0.0), 6)
    x, y, theta = place
    cos, sin = np.cos(theta), np.sin(theta)
    tip = np.array(pixel(x + look_ahead * cos, y + look_ahead * sin))
    body = [(0, 0), (-18, 8), (-18, -8)]  # [pixels] from the point ahead, which leads
    turned = np.array([(cos * a - sin * b, -sin * a - cos * b) for a, b in body])
    pygame.draw.polygon(surface, AGENT, (tip + turned).round().tolist())
    pygame.draw.circle(surface, INK, tip.tolist(), 2)
    write(surface, "red: cost 1 a step inside", (10, 8), HAZARD, "topleft")
    write(surface, "goal", np.add(pixel(0.0, 0.0), (10, 8)).tolist(), GOAL_WORDS, "topleft")
    return frame_of(surface)
