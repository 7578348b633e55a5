"""The ways to draw a flight: the two-view drawing, or MuJoCo's scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from safe_envs.quadrotor.mujoco_rendering import FlightCamera
from safe_envs.quadrotor.rendering import Point, draw_flight
from safe_envs.quadrotor.task import FlightTask

RenderBackend = Literal["drawing", "mujoco"]


class FlightPainter(Protocol):
    """Turns flights into frames."""

    def draw(
        self, state: Point, trail: Sequence[Point], centers: Sequence[Point], target: Point
    ) -> np.ndarray:
        """Return a frame, (height, width, 3) uint8, see `draw_flight`."""

    def close(self) -> None:
        """Free what drawing needed."""


class TwoViews:
    """Draws the flight from above and from the side.

    Args:
        task: vehicle, reference and radii.
    """

    def __init__(self, task: FlightTask) -> None:
        self._task = task

    def draw(
        self, state: Point, trail: Sequence[Point], centers: Sequence[Point], target: Point
    ) -> np.ndarray:
        """Return the frame."""
        return draw_flight(state, trail, centers, target, self._task)

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def flight_painter(render_backend: RenderBackend, task: FlightTask) -> FlightPainter:
    """Return the painter of a task's flights.

    Raises:
        ValueError: if there is no backend of that name.
        gym.error.DependencyNotInstalled: if mujoco is needed and missing.
    """
    if render_backend == "drawing":
        return TwoViews(task)
    if render_backend == "mujoco":
        return FlightCamera(task)
    raise ValueError(
        f"render_backend is {render_backend!r}; pass 'drawing', the flight from above and from the "
        "side, or 'mujoco', the flight in three dimensions"
    )
