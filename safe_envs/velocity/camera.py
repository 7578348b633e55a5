"""Pictures of the velocity tasks: the robot, and a ball above it that is red if it is too fast."""

from __future__ import annotations

import numpy as np

from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.rendering.offscreen_scene import OffscreenScene
from safe_envs.velocity.physics import RobotPhysics

SIZE = 480  # [px] width and height, as Gymnasium's frames
MAX_GEOMS = 1000
BALL_HEIGHT = 0.6  # [m] above the torso; this and the next three as in Safety-Gymnasium
BALL_RADIUS = 0.2  # [m]
SAFE_COLOR = (0.2, 0.8, 0.2, 0.5)
FAST_COLOR = (0.8, 0.0, 0.0, 0.5)


class TrackingCamera:
    """Draws rows of one robot, seen by its model's tracking camera.

    OpenGL is not used before the first frame.
    """

    def __init__(self, physics: RobotPhysics) -> None:
        self._physics = physics
        self._opened: _Offscreen | None = None

    def draw(self, row: np.ndarray) -> np.ndarray:
        """Return the frame of a row, (480, 480, 3) uint8.

        Raises:
            RuntimeError: if no OpenGL library can be used; the message says what to install.
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
    """MuJoCo's scene with one robot in it."""

    def __init__(self, physics: RobotPhysics) -> None:
        self._mujoco = mujoco = load_mujoco()
        self._physics = physics
        self._scene = OffscreenScene(mujoco, physics.model, SIZE, SIZE, MAX_GEOMS)
        self._data = physics.new_data()
        self._scene.camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._scene.camera.fixedcamid = physics.model.camera("track").id

    def draw(self, row: np.ndarray) -> np.ndarray:
        self._physics.pose(self._data, row)
        fast = self._physics.excess(row)[0] > 0.0
        return self._scene.draw(self._data, lambda: self._add_ball(fast))

    def close(self) -> None:
        self._scene.close()

    def _add_ball(self, fast: bool) -> None:
        place = self._data.xpos[self._physics.body] + np.array((0.0, 0.0, BALL_HEIGHT))
        color = FAST_COLOR if fast else SAFE_COLOR
        sphere = self._mujoco.mjtGeom.mjGEOM_SPHERE
        self._scene.add(sphere, (BALL_RADIUS,) * 3, place, np.eye(3), color)
