"""Gymnasium's viewers as the genuine package calls them; several may share a process."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import OffScreenViewer

from safe_envs.rendering.offscreen_scene import open_context
from safe_envs.rendering.screen import has_screen, open_screen, require


class SeparateViewer(OffScreenViewer):
    """A viewer that may be one of several in a process, each with an OpenGL context of its own."""

    opengl_context: Any = None
    con: Any = None  # MuJoCo's own context inside it

    def __init__(self, model: Any, data: Any, width: int, height: int) -> None:
        with ExitStack() as self._building:  # with the context current
            super().__init__(model, data, width, height)

    def _get_opengl_backend(self, width: int, height: int) -> None:
        self._process = os.getpid()
        self.opengl_context = open_context(width, height)
        self._building.enter_context(self.opengl_context.current())

    def make_context_current(self) -> None:
        """Do nothing: the context is made current by every method that needs it."""

    def render(
        self, render_mode: str | None, camera_id: int | None = None, segmentation: bool = False
    ) -> np.ndarray:
        """Return a frame, drawn in the viewer's own context."""
        with self.opengl_context.current():
            frame: Any = super().render(render_mode, camera_id, segmentation)
        return np.ascontiguousarray(frame)

    def free(self) -> None:
        """Free rendering resources that belong to this process; a second call does nothing."""
        if self.opengl_context is None or self._process != os.getpid() or sys.is_finalizing():
            return
        if self.con is not None:
            with self.opengl_context.current():
                self.con.free()
        self.opengl_context.free()
        self.opengl_context = None


def viewer_of_model_size(model: Any, data: Any) -> SeparateViewer:
    """Return a viewer with the frame size that the model asks for.

    Raises:
        RuntimeError: if no OpenGL library can be used; the message says what to install.
    """
    frame = model.vis.global_
    return SeparateViewer(model, data, int(frame.offwidth), int(frame.offheight))


def require_glfw_screen() -> None:
    """Check that GLFW can open a window; without a screen it would kill the process.

    Raises:
        RuntimeError: if there is none.
    """
    require(has_screen())
    import glfw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW's own message, before the error's
        open_screen(lambda: bool(glfw.init()) and glfw.get_primary_monitor() is not None)


@contextmanager
def window_current(window: Any) -> Iterator[None]:
    """Make a window's OpenGL context current in this block, and none afterward.

    Left current, it would keep every other environment of this thread from drawing.

    Args:
        window: Gymnasium's viewer; None if this block opens it.
    """
    import glfw

    if window is not None:
        window.make_context_current()
    try:
        yield
    finally:
        glfw.make_context_current(None)  # type: ignore[arg-type]


def give_viewer(renderer: Any, mode: str) -> None:
    """Give a velocity task's renderer a separate viewer, unless it has one or draws in a window.

    The default viewer tries GLFW first, which kills the process on a machine without a screen.
    """
    if mode != "human" and mode not in renderer._viewers:
        size = renderer.width, renderer.height
        renderer.viewer = SeparateViewer(renderer.model, renderer.data, *size)
        renderer._set_cam_config()
        renderer._viewers[mode] = renderer.viewer
