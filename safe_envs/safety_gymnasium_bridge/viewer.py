"""Gymnasium's off-screen viewer as the genuine package calls it."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import OffScreenViewer

from safe_envs.rendering.offscreen_scene import open_context


class SeparateViewer(OffScreenViewer):
    """A viewer that may be one of several in a process, each with an OpenGL context of its own."""

    opengl_context: Any = None
    con: Any = None  # MuJoCo's own context inside it

    def _get_opengl_backend(self, width: int, height: int) -> None:
        self._process = os.getpid()
        self.opengl_context = open_context(width, height)

    def render(
        self, render_mode: str | None, camera_id: int | None = None, segmentation: bool = False
    ) -> np.ndarray:
        """Return a frame, drawn in the viewer's own context."""
        self.make_context_current()
        frame: Any = super().render(render_mode, camera_id, segmentation)
        return np.ascontiguousarray(frame)

    def free(self) -> None:
        """Free rendering resources that belong to this process; a second call does nothing."""
        if self.opengl_context is None or self._process != os.getpid() or sys.is_finalizing():
            return
        if self.con is not None:
            self.make_context_current()
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


def require_screen() -> None:
    """Check that a window can be opened; without a screen GLFW would kill the process.

    Raises:
        RuntimeError: if there is none.
    """
    import glfw

    if not glfw.init() or glfw.get_primary_monitor() is None:
        raise RuntimeError(
            "render_mode='human' needs a screen, and this machine has none; set DISPLAY, start "
            "the program with xvfb-run, or pass render_mode='rgb_array'"
        )


def give_viewer(renderer: Any, mode: str) -> None:
    """Give a velocity task's renderer a separate viewer, unless it has one or draws in a window.

    The default viewer tries GLFW first, which kills the process on a machine without a screen.
    """
    if mode != "human" and mode not in renderer._viewers:
        size = renderer.width, renderer.height
        renderer.viewer = SeparateViewer(renderer.model, renderer.data, *size)
        renderer._set_cam_config()
        renderer._viewers[mode] = renderer.viewer
