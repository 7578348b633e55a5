"""Windows on the screen, several in one process, alongside MuJoCo's OpenGL contexts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from weakref import WeakSet

import numpy as np

from safe_envs.rendering.screen import SCREENLESS_DRIVERS, chosen_drivers, open_screen

TITLE = "safe_envs"
SURFACE_HINT = "SDL_FRAMEBUFFER_ACCELERATION"
SOFTWARE_DRIVERS = ("x11", "offscreen")  # drivers that use OpenGL by default but work without it

Size = tuple[int, int]


class Window:
    """A window that shows frames.

    pygame has one display per process. One window uses that display, and the others are separate
    windows, so closing one leaves the others open. A display that another library opened is left
    alone. Only pygame-ce has separate windows; with pygame, all share the display.

    Args:
        pygame: the module.
        fps: frames per second; `show` waits until the next one is due.
    """

    def __init__(self, pygame: ModuleType, fps: float) -> None:
        self._pygame = pygame
        self._fps = fps
        self._clock = pygame.time.Clock()
        self._further: Any = None  # a window of its own; None if it is pygame's display
        self._beside: Any = None  # surface of pygame's display when this window was opened

    def show(self, frame: np.ndarray) -> None:
        """Show a frame, (height, width, 3) uint8; the first one opens the window.

        Raises:
            RuntimeError: if there is no screen.
        """
        pygame = self._pygame
        surface = self._surface((frame.shape[1], frame.shape[0]))
        pygame.surfarray.blit_array(surface, frame.transpose(1, 0, 2))
        pygame.event.pump()
        if self._further is None:
            pygame.display.flip()
        else:
            self._further.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close this window; the last one also ends pygame's display."""
        pygame = self._pygame
        if self not in _shown or self._is_lost():
            self._forget()
            return
        _shown.discard(self)
        if self._further is not None:
            self._further.destroy()
        elif _shown and not _is_display_shown():
            pygame.display.set_mode(pygame.display.get_window_size(), pygame.HIDDEN)
        if not _shown and not _is_display_foreign(pygame):
            pygame.display.quit()
            _own_display.clear()

    def _surface(self, size: Size) -> Any:
        pygame = self._pygame
        if self not in _shown or self._is_lost():
            self._forget()
            self._open(size)
        if self._further is not None:
            return self._further.get_surface()
        surface = pygame.display.get_surface()
        if surface.get_size() != size:  # another environment has drawn on it
            surface = _open_display(pygame, size)
        return surface

    def _is_lost(self) -> bool:
        """Return whether another library has ended pygame's display or taken it."""
        pygame = self._pygame
        if not pygame.display.get_init() or pygame.display.get_surface() is not self._beside:
            return True
        return self._further is None and _is_display_foreign(pygame)

    def _forget(self) -> None:
        _shown.discard(self)
        if self._further is not None:
            _ended.append(self._further)
            self._further = None

    def _open(self, size: Size) -> None:
        pygame = self._pygame
        if not pygame.display.get_init():
            open_screen(partial(_start_display, pygame))
        with _without_opengl(pygame.display.get_driver()):
            in_use = _is_display_shown() or _is_display_foreign(pygame)
            if in_use and "Window" in vars(pygame):
                self._further = pygame.Window(TITLE, size)
                self._further.get_surface()
            else:
                _open_display(pygame, size)
        self._beside = pygame.display.get_surface()
        _shown.add(self)


_shown: WeakSet[Window] = WeakSet()
_ended: list[Any] = []  # by another library; to free them again could crash SDL
_own_display: list[tuple[Any, Size]] = []  # surface of pygame's display, if a Window opened it


def _is_display_shown() -> bool:
    return any(window._further is None for window in _shown)


def _is_display_foreign(pygame: ModuleType) -> bool:
    surface = pygame.display.get_surface()
    return surface is not None and (surface, surface.get_size()) not in _own_display


def _open_display(pygame: ModuleType, size: Size) -> Any:
    surface = pygame.display.set_mode(size)
    pygame.display.set_caption(TITLE)
    _own_display[:] = [(surface, size)]
    return surface


def _start_display(pygame: ModuleType) -> bool:
    """Start SDL's video; return whether it found a screen or is configured to work without one."""
    try:
        pygame.display.init()
    except pygame.error:
        return False
    driver = pygame.display.get_driver()
    if driver in SCREENLESS_DRIVERS and driver not in chosen_drivers():
        pygame.display.quit()
        return False
    return True


@contextmanager
def _without_opengl(driver: str) -> Iterator[None]:
    """Let SDL draw the first window in memory in this block, where it can.

    With X11, SDL's OpenGL context crashes the process if MuJoCo has one in the same thread; with
    the offscreen driver, both share one EGL display, which SDL terminates when it closes its own.
    """
    if driver not in SOFTWARE_DRIVERS or SURFACE_HINT in os.environ:
        yield
        return
    os.environ[SURFACE_HINT] = "0"  # pygame has no function for hints
    try:
        yield
    finally:
        del os.environ[SURFACE_HINT]
