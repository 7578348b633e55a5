"""Pictures of the velocity tasks: the robot, and a ball above it that turns red when it speeds."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np

from safe_envs.velocity_physics import RobotPhysics, load_mujoco

SIZE = 480  # [px] width and height, as Gymnasium's frames
MAX_GEOMS = 1000
BALL_HEIGHT = 0.6  # [m] above the torso; this and the next three as in Safety-Gymnasium
BALL_RADIUS = 0.2  # [m]
SAFE_COLOUR = (0.2, 0.8, 0.2, 0.5)
FAST_COLOUR = (0.8, 0.0, 0.0, 0.5)
BACKENDS = ("egl", "glfw")  # tried in this order unless MuJoCo's variable MUJOCO_GL names one


class TrackingCamera:
    """Draws rows of one robot, seen by the camera of its model that follows the robot.

    Nothing of OpenGL is touched before the first frame.
    """

    def __init__(self, physics: RobotPhysics) -> None:
        self._physics = physics
        self._opened: _Offscreen | None = None

    def draw(self, row: np.ndarray) -> np.ndarray:
        """Return the frame of a row, (480, 480, 3) uint8.

        Raises:
            RuntimeError: if no OpenGL library can be used; it says what to install.
        """
        if self._opened is None:
            self._opened = _Offscreen(self._physics)
        return self._opened.draw(row)

    def close(self) -> None:
        """Free the OpenGL context, if there is one."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class _Offscreen:
    """An OpenGL context with MuJoCo's scene in it."""

    def __init__(self, physics: RobotPhysics) -> None:
        self._mujoco = mujoco = load_mujoco()
        self._physics = physics
        self._context = open_context(SIZE, SIZE)
        self._context.make_current()
        self._data = physics.new_data()
        self._scene = mujoco.MjvScene(physics.model, MAX_GEOMS)
        for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[effect] = False  # four times as fast where the processor draws
        self._options = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._viewport = mujoco.MjrRect(0, 0, SIZE, SIZE)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = physics.model.camera("track").id
        font = mujoco.mjtFontScale.mjFONTSCALE_100
        self._renderer = mujoco.MjrContext(physics.model, font)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._renderer)

    def draw(self, row: np.ndarray) -> np.ndarray:
        mujoco, physics = self._mujoco, self._physics
        self._context.make_current()
        physics.pose(self._data, row)
        mujoco.mjv_updateScene(
            physics.model,
            self._data,
            self._options,
            self._perturbation,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        self._add_ball(physics.excess(row)[0] > 0.0)
        mujoco.mjr_render(self._viewport, self._scene, self._renderer)
        frame = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(frame, None, self._viewport, self._renderer)
        return np.ascontiguousarray(frame[::-1])  # OpenGL's first line is the lowest

    def close(self) -> None:
        self._renderer.free()
        self._context.free()

    def _add_ball(self, fast: bool) -> None:
        mujoco = self._mujoco
        mujoco.mjv_initGeom(
            self._scene.geoms[self._scene.ngeom],
            mujoco.mjtGeom.mjGEOM_SPHERE,
            size=np.full(3, BALL_RADIUS),
            pos=self._data.xpos[self._physics.body] + np.array((0.0, 0.0, BALL_HEIGHT)),
            mat=np.eye(3).ravel(),
            rgba=np.array(FAST_COLOUR if fast else SAFE_COLOUR, dtype=np.float32),
        )
        self._scene.ngeom += 1


def open_context(width: int, height: int) -> Any:
    """Return an OpenGL context from the first library that gives one.

    Raises:
        RuntimeError: if none does; it says what to install.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    reasons = []
    for backend in (chosen,) if chosen in ("egl", "glfw", "osmesa") else BACKENDS:
        try:
            return import_module(f"mujoco.{backend}").GLContext(width, height)
        except Exception as error:  # each library fails in its own way
            reasons.append(f"{backend}: {type(error).__name__}: {error}")
    raise RuntimeError(
        f"no OpenGL library draws frames here ({'; '.join(reasons)}). On Debian and Ubuntu install "
        "one: 'apt-get install libegl1' for EGL, or 'apt-get install libosmesa6' and "
        "MUJOCO_GL=osmesa for drawing without a graphics card"
    )
