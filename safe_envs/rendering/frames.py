"""Frames of an environment, as arrays or in a window, and the colors they share."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.rendering.screen import has_pygame_screen, require, shown_modes
from safe_envs.rendering.window import Window

BACKGROUND = (250, 250, 248)
INK = (52, 58, 64)
FAINT = (206, 212, 218)
AGENT = (33, 102, 172)
GOAL = (77, 146, 33)
HAZARD = (197, 27, 60)


def load_pygame() -> ModuleType:
    """Return the module pygame; if it is missing, raise an error with the pip command."""
    try:
        import pygame
    except ImportError as error:
        raise gym.error.DependencyNotInstalled(
            'drawing needs pygame; install it with: pip install "safe-envs[render]"'
        ) from error
    return pygame


def frame_of(surface: Any) -> np.ndarray:
    """Return a pygame surface as a (height, width, 3) uint8 array."""
    pixels = load_pygame().surfarray.array3d(surface)
    return np.ascontiguousarray(pixels.transpose(1, 0, 2))


class FrameRenderer:
    """Returns frames as arrays ("rgb_array") or shows them in a window ("human").

    `metadata` is the environment's, with the render modes that work here; without a screen, "human"
    is left out.

    Raises:
        ValueError: if the render mode is not one of the environment's.
        RuntimeError: if it is "human" and there is no screen.
    """

    def __init__(self, render_mode: str | None, metadata: dict[str, Any]) -> None:
        modes = metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(f"render_mode is {render_mode!r}; pass None or one of {modes}")
        screen = has_pygame_screen()
        require(screen or render_mode != "human")
        self.metadata = metadata | {"render_modes": shown_modes(modes, screen)}
        self.render_mode = render_mode
        self._window: Window | None = None

    def render(self, draw: Callable[[], np.ndarray]) -> np.ndarray | None:
        """Return the drawn frame, show it, or warn that no render mode was chosen."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() does nothing without a render mode; pass render_mode='rgb_array' or "
                "'human' to gymnasium.make"
            )
            return None
        frame = draw()
        if self.render_mode == "rgb_array":
            return frame
        self._show(frame)
        return None

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_window": None}

    def _show(self, frame: np.ndarray) -> None:
        if self._window is None:
            self._window = Window(load_pygame(), self.metadata["render_fps"])
        self._window.show(frame)
