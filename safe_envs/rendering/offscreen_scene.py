"""MuJoCo's scene in an OpenGL context without a window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

BACKENDS = ("egl", "glfw")  # tried in this order unless MuJoCo's variable MUJOCO_GL names one


class OffscreenScene:
    """Draws states of one model as frames, with additional geoms.

    `options` and `camera` are MuJoCo's, to be set by the caller. Shadows and reflections are off:
    without them a processor draws four to six times as fast.

    Args:
        mujoco: the module.
        model: the model to draw.
        width: of a frame [px].
        height: of a frame [px].
        max_geoms: room for the model's and the additional geoms.

    Raises:
        RuntimeError: if no OpenGL library can be used; the message says what to install.
    """

    def __init__(
        self, mujoco: ModuleType, model: Any, width: int, height: int, max_geoms: int
    ) -> None:
        self._mujoco = mujoco
        self._model = model
        self._context = open_context(width, height)
        self._scene = mujoco.MjvScene(model, max_geoms)
        for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[effect] = False
        self.options = mujoco.MjvOption()
        self.camera = mujoco.MjvCamera()
        self._perturbation = mujoco.MjvPerturb()
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._frame = (height, width, 3)
        with self._context.current():
            self._renderer = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._renderer)

    def draw(self, data: Any, add_geoms: Callable[[], None]) -> np.ndarray:
        """Return the frame of a state, (height, width, 3) uint8.

        Args:
            data: MuJoCo's data, with positions computed.
            add_geoms: called once the model's geoms are in the scene; calls `add`.
        """
        frame = np.empty(self._frame, dtype=np.uint8)
        self._read(data, add_geoms, frame, None)
        return np.ascontiguousarray(frame[::-1])  # OpenGL's first line is the lowest

    def depth(self, data: Any) -> np.ndarray:
        """Return the depth buffer of a state, (height, width) float32 in [0, 1], 1 is farthest."""
        depths = np.empty(self._frame[:2], dtype=np.float32)
        self._read(data, lambda: None, None, depths)
        return np.ascontiguousarray(depths[::-1])

    def _read(
        self,
        data: Any,
        add_geoms: Callable[[], None],
        frame: np.ndarray | None,
        depths: np.ndarray | None,
    ) -> None:
        """Render a state, and write its colors and depths, the lowest line first."""
        mujoco = self._mujoco
        mujoco.mjv_updateScene(
            self._model,
            data,
            self.options,
            self._perturbation,
            self.camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        add_geoms()
        with self._context.current():
            mujoco.mjr_render(self._viewport, self._scene, self._renderer)
            mujoco.mjr_readPixels(frame, depths, self._viewport, self._renderer)

    def add(self, kind: Any, size: Any, place: Any, axes: np.ndarray, color: Any) -> None:
        """Add a geom to the scene, if there is room.

        Args:
            kind: MuJoCo's mjtGeom.
            size: (3,) [m].
            place: (3,) [m].
            axes: (3, 3).
            color: red, green, blue and alpha in [0, 1].
        """
        if self._scene.ngeom < self._scene.maxgeom:
            self._mujoco.mjv_initGeom(
                self._scene.geoms[self._scene.ngeom],
                kind,
                size=np.array(size, dtype=np.float64),
                pos=np.array(place, dtype=np.float64),
                mat=axes.ravel(),
                rgba=np.array(color, dtype=np.float32),
            )
            self._scene.ngeom += 1

    def close(self) -> None:
        """Free the OpenGL context."""
        with self._context.current():
            self._renderer.free()
        self._context.free()


class OffscreenContext:
    """An OpenGL context without a window, which is current only while it draws.

    If it stayed current, opening a window in the same thread would crash the process, and another
    thread could not draw with it.

    Args:
        backend: MuJoCo's module for the library, such as `mujoco.egl`.
        width: of a frame [px].
        height: of a frame [px].
    """

    def __init__(self, backend: ModuleType, width: int, height: int) -> None:
        self._backend = backend
        with self._former_restored():
            self._context: Any = backend.GLContext(width, height)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this block; afterward the previous one is current again."""
        with self._former_restored():
            self._context.make_current()
            yield

    def free(self) -> None:
        """Free the context; a second call does nothing."""
        self._context.free()

    def _former_restored(self) -> AbstractContextManager[None]:
        return RESTORED[self._backend.__name__.rpartition(".")[2]](self._backend)


@contextmanager
def _egl_restored(egl: Any) -> Iterator[None]:
    library = egl.EGL
    former = library.eglGetCurrentContext()
    display = library.eglGetCurrentDisplay()
    surfaces = [library.eglGetCurrentSurface(use) for use in (library.EGL_DRAW, library.EGL_READ)]
    try:
        yield
    finally:
        if former:
            library.eglMakeCurrent(display, *surfaces, former)
        elif egl.EGL_DISPLAY is not None:
            none = library.EGL_NO_SURFACE
            library.eglMakeCurrent(egl.EGL_DISPLAY, none, none, library.EGL_NO_CONTEXT)


@contextmanager
def _glfw_restored(_: Any) -> Iterator[None]:
    import glfw

    former = glfw.get_current_context()
    try:
        yield
    finally:
        glfw.make_context_current(former)


@contextmanager
def _nothing_restored(_: Any) -> Iterator[None]:
    """OSMesa draws in memory and has its own kind of context."""
    yield


RESTORED = {"egl": _egl_restored, "glfw": _glfw_restored, "osmesa": _nothing_restored}


_drawing: set[int] = set()  # processes with contexts; a forked one has its parent's number here


def open_context(width: int, height: int) -> OffscreenContext:
    """Return an OpenGL context from the first library that works.

    Raises:
        RuntimeError: if none works; the message says what to install. Also in a process that was
            forked from one with contexts, where OpenGL would wait forever.
    """
    if _drawing and os.getpid() not in _drawing:
        raise RuntimeError(
            "this process was forked from one that had drawn with OpenGL, which does not survive a "
            "fork; start it by 'spawn', such as AsyncVectorEnv(..., context='spawn'), or draw the "
            "first frame after the fork"
        )
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    reasons = []
    for backend in (chosen,) if chosen in RESTORED else BACKENDS:
        try:
            context = OffscreenContext(import_module(f"mujoco.{backend}"), width, height)
            _drawing.add(os.getpid())
            return context
        except Exception as error:  # each library fails in its own way
            reasons.append(f"{backend}: {type(error).__name__}: {error}")
    raise RuntimeError(
        f"no OpenGL library can draw frames here ({'; '.join(reasons)}). On Debian and Ubuntu "
        "install one: 'apt-get install libegl1' for EGL, or 'apt-get install libosmesa6' and "
        "MUJOCO_GL=osmesa for drawing without a graphics card"
    )
