"""The flight from above and from the side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from safe_envs.quadrotor.task import FlightTask
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

WIDTH = 560  # [pixels]
OVERSAMPLING = 2  # drawn larger and scaled down, for smooth edges
MARGIN = 0.7  # [m] around the reference
SPHERE = (173, 181, 189)
SPHERE_EDGE = (134, 142, 150)
TOUCHED = (236, 166, 181)
GROUND = (233, 230, 222)
ROTOR = (166, 199, 228)
THRUST = (217, 95, 2)
LETTERS = 20 * OVERSAMPLING  # [pixels]
LEAST_DRAWN_ARM = 0.12  # [m]; small vehicles are drawn larger than they are
ROTOR_SHARE = 0.55  # of a rotor's distance from the middle
_RANK = {SPHERE: 0, TOUCHED: 1, HAZARD: 2}

Point = Sequence[float] | np.ndarray
Color = tuple[int, int, int]


class View(NamedTuple):
    """A drawing of the plane of x and another axis, in one part of the frame."""

    axis: int  # 1 for y, seen from above; 2 for z, seen from the side
    scale: float  # [pixels/m]
    zero: tuple[float, float]  # where the origin is [pixels]
    top: int  # [pixels]
    bottom: int  # [pixels]

    def pixel(self, point: Point) -> tuple[float, float]:
        """Return the pixel of a point in space."""
        right, up = point[0], point[self.axis]
        return self.zero[0] + right * self.scale, self.zero[1] - up * self.scale


class Flown(NamedTuple):
    """A flight so far."""

    state: Point  # (13,)
    trail: Sequence[Point]  # positions since the start, the current one last
    color: Color = AGENT  # of the trail
    rotor_color: Color = ROTOR


def draw_flight(
    state: Point,
    trail: Sequence[Point],
    centers: Sequence[Point],
    target: Point,
    task: FlightTask,
) -> np.ndarray:
    """Return the flight from above and from the side as a frame.

    Spheres are red while touched and, if they are at rest, pale red afterward.

    Args:
        state: (13,).
        trail: positions since the start, the current one last.
        centers: of the spheres.
        target: the reference's current position.
        task: vehicle, reference and radii.
    """
    return draw_flights([Flown(state, trail)], centers, target, task)


def draw_flights(
    flights: Sequence[Flown], centers: Sequence[Point], target: Point, task: FlightTask
) -> np.ndarray:
    """Return a frame like `draw_flight`'s of flights past the same spheres, later ones on top.

    Args:
        flights: at least one.
        centers: of the spheres.
        target: the reference's current position.
        task: vehicle, reference and radii.
    """
    pygame = load_pygame()
    views = _views(task)
    surface = pygame.Surface((WIDTH * OVERSAMPLING, views[-1].bottom))
    surface.fill(BACKGROUND)
    touched = [sphere_colors(flown.trail, centers, task) for flown in flights]
    colors = [max(each, key=_RANK.__getitem__) for each in zip(*touched, strict=True)]
    for view in views:
        surface.set_clip(0, view.top, WIDTH * OVERSAMPLING, view.bottom - view.top)
        if view.axis == 2:
            ground = view.pixel((0.0, 0.0, 0.0))[1]
            pygame.draw.rect(surface, GROUND, (0, ground, WIDTH * OVERSAMPLING, WIDTH))
        for i in _drawing_order(centers, colors, view):
            _draw_sphere(surface, view, centers[i], float(task.scene.radii[i]), colors[i])
        curve = task.reference.at(np.linspace(0.0, task.reference.period, 200)).position.T
        pygame.draw.lines(surface, GOAL, False, [view.pixel(p) for p in curve], 2 * OVERSAMPLING)
        for flown in flights:
            if len(flown.trail) > 1:
                points = [view.pixel(p) for p in flown.trail]
                pygame.draw.lines(surface, flown.color, False, points, 3 * OVERSAMPLING)
        pygame.draw.circle(surface, GOAL, view.pixel(target), 5 * OVERSAMPLING)
        for flown in flights:
            _draw_vehicle(surface, view, flown, task)
    surface.set_clip(None)
    _draw_labels(surface, views)
    _draw_start(surface, views[0], flights[0])
    small = (WIDTH, views[-1].bottom // OVERSAMPLING)
    return frame_of(pygame.transform.smoothscale(surface, small))


def _views(task: FlightTask) -> tuple[View, View]:
    """Return the view from above and, below it, the one from the side."""
    reference, width = task.reference, WIDTH * OVERSAMPLING
    scale = width / (2.0 * (reference.length + MARGIN))
    above = round(2.0 * (reference.width + MARGIN) * scale)
    beside = round((reference.height + 1.2 * MARGIN + 0.12) * scale) // OVERSAMPLING * OVERSAMPLING
    above = above // OVERSAMPLING * OVERSAMPLING
    ground = above + beside - 0.12 * scale
    return (
        View(1, scale, (width / 2, above / 2), 0, above),
        View(2, scale, (width / 2, ground), above, above + beside),
    )


def sphere_colors(
    trail: Sequence[Point], centers: Sequence[Point], task: FlightTask
) -> list[Color]:
    """Return the spheres' colors: HAZARD in contact, TOUCHED after one, SPHERE otherwise.

    Moving spheres are never TOUCHED: they have left the place of the contact.
    """
    flown = np.array(trail)[:, None]  # (steps, 1, 3)
    inside = np.linalg.norm(flown - np.array(centers).reshape(-1, 3), axis=2) < task.radii
    inside[:-1, task.scene.moving] = False
    now, ever = inside[-1], inside.any(axis=0)
    return [HAZARD if n else TOUCHED if e else SPHERE for n, e in zip(now, ever, strict=True)]


def _drawing_order(centers: Sequence[Point], colors: Sequence[Color], view: View) -> list[int]:
    """Return the spheres' numbers: untouched ones first, and of these the farthest first."""
    nearness = [c[2] if view.axis == 1 else -c[1] for c in centers]
    return sorted(range(len(centers)), key=lambda i: (_RANK[colors[i]], nearness[i]))


def _draw_sphere(surface: Any, view: View, center: Point, radius: float, color: Color) -> None:
    pygame = load_pygame()
    drawn = radius * view.scale
    pygame.draw.circle(surface, color, view.pixel(center), drawn)
    pygame.draw.circle(surface, SPHERE_EDGE, view.pixel(center), drawn, OVERSAMPLING)


def _draw_vehicle(surface: Any, view: View, flown: Flown, task: FlightTask) -> None:
    """Draw arms, rotor discs and the direction of thrust, small ones enlarged."""
    pygame = load_pygame()
    vehicle, middle = task.vehicle, np.array(flown.state[:3])
    rotation = _rotation(flown.state)
    arms = np.stack([vehicle.rotor_x, vehicle.rotor_y, np.zeros(4)], axis=1)  # (4, 3)
    length = vehicle.longest_arm
    reach = max(length, LEAST_DRAWN_ARM)
    arms *= reach / length
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    disc = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1) * (ROTOR_SHARE * reach)
    start = view.pixel(middle)
    for arm in arms:
        rim = [view.pixel(middle + rotation @ (arm + offset)) for offset in disc]
        pygame.draw.polygon(surface, flown.rotor_color, rim)
        pygame.draw.lines(surface, flown.color, True, rim, OVERSAMPLING)
    for arm in arms:
        pygame.draw.line(surface, INK, start, view.pixel(middle + rotation @ arm), 3 * OVERSAMPLING)
    tip = view.pixel(middle + rotation @ np.array([0.0, 0.0, 1.6 * reach]))
    pygame.draw.line(surface, THRUST, start, tip, 2 * OVERSAMPLING)
    pygame.draw.circle(surface, INK, start, 4 * OVERSAMPLING)


def _rotation(state: Point) -> np.ndarray:
    """Return R(q), (3, 3), from body to world."""
    w, x, y, z = state[6:10]
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _draw_start(surface: Any, view: View, flown: Flown) -> None:
    """Mark where a flight began, once the vehicle has left that place."""
    pygame = load_pygame()
    x, y = view.pixel(flown.trail[0])
    across, up = view.pixel(flown.state)
    if np.hypot(across - x, up - y) < LEAST_DRAWN_ARM * 2.0 * view.scale:
        return
    pygame.draw.circle(surface, INK, (x, y), 6 * OVERSAMPLING, 2 * OVERSAMPLING)
    write(surface, "start", (x, y + 14 * OVERSAMPLING), size=LETTERS, background=BACKGROUND)


def _draw_labels(surface: Any, views: tuple[View, View]) -> None:
    """Name the views, part them by a line, and draw a meter to measure by."""
    pygame = load_pygame()
    inset = 10 * OVERSAMPLING
    edge = views[1].top
    pygame.draw.line(surface, FAINT, (0, edge), (surface.get_width(), edge), 2 * OVERSAMPLING)
    for view, name in zip(views, ("from above (x, y)", "from the side (x, z)"), strict=True):
        place = inset, view.top + inset
        write(surface, name, place, INK, "topleft", LETTERS, background=BACKGROUND)
    right, low = surface.get_width() - inset, views[0].bottom - inset
    left = right - views[0].scale
    pygame.draw.line(surface, INK, (left, low), (right, low), 2 * OVERSAMPLING)
    write(surface, "1 m", ((left + right) / 2, low - 4), INK, "midbottom", LETTERS)
