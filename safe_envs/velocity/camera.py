"""Pictures of the velocity tasks: the robot, and a ball above it that is red if it is too fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from safe_envs.contract.argument_checks import (
    check_choice,
    check_count,
    checked_array,
    is_number,
    unknown_name,
)
from safe_envs.rendering.frames import FrameRenderer
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.rendering.offscreen_scene import OffscreenScene
from safe_envs.velocity.physics import RobotPhysics

SIZE = 480  # [px] width and height, as Gymnasium's frames
MAX_GEOMS = 1000
FREE = -1  # number of MuJoCo's free camera
TRACKING = 1  # mjCAMERA_TRACKING, one of the free camera's types
FREE_KINDS = (0, TRACKING)
TRACK = "track"  # camera of Gymnasium's models that moves with the robot
CAMERA_FIELDS = (  # of MuJoCo's MjvCamera
    "azimuth", "distance", "elevation", "fixedcamid", "lookat", "orthographic", "trackbodyid",
    "type",
)  # fmt: skip
RENDERER_MODES = ("human", "rgb_array", "depth_array", "rgbd_tuple")
BALL_HEIGHT = 0.6  # [m] above the torso; this and the next three as in Safety-Gymnasium
BALL_RADIUS = 0.2  # [m]
SAFE_COLOR = (0.2, 0.8, 0.2, 0.5)
FAST_COLOR = (0.8, 0.0, 0.0, 0.5)


@dataclass(frozen=True)
class FrameView:
    """What frames show, with the names of Gymnasium's arguments.

    Args:
        width: of a frame [px].
        height: of a frame [px].
        camera_name: name of one of the model's cameras.
        camera_id: number of one of the model's cameras; -1 for the free camera.
        default_camera_config: fields of MuJoCo's MjvCamera for the free camera.
        max_geom: most geoms in the scene.
        visual_options: MuJoCo's visibility flags, by number.

    Raises:
        ValueError: if an argument is out of its range, or both a name and a number are given.
    """

    width: int = SIZE
    height: int = SIZE
    camera_name: str | None = None
    camera_id: int | None = None
    default_camera_config: Mapping[str, Any] | None = None
    max_geom: int = MAX_GEOMS
    visual_options: Mapping[int, bool] | None = None

    def __post_init__(self) -> None:
        check_count(width=self.width, height=self.height, max_geom=self.max_geom)
        if self.camera_name is not None and self.camera_id is not None:
            raise ValueError(
                f"camera_name is {self.camera_name!r} and camera_id is {self.camera_id!r}; pass "
                "one of them"
            )
        _check_camera_config(self.default_camera_config)
        if self.visual_options:
            _check_flags(self.visual_options)


class TrackingCamera:
    """Draws rows of one robot, as a view shows them.

    Without a camera in the view, it is the model's tracking camera, or the free one if the view
    configures that. OpenGL is not used before the first frame.

    Args:
        physics: the robot.
        view: what to show.

    Attributes:
        view: what to show.
        camera_id: number of the model's camera, -1 for the free one.

    Raises:
        ValueError: if the model has no such camera, or no body that is to be tracked.
    """

    def __init__(self, physics: RobotPhysics, view: FrameView) -> None:
        self.view = view
        _check_tracked_body(physics.model, view.default_camera_config or {})
        self.camera_id = _camera_number(physics.model, view)
        self._physics: Any = physics
        self._opened: _Offscreen | None = None
        self._kept: tuple[Any, Any] | None = None  # camera and options that a user may have changed

    @property
    def scene(self) -> OffscreenScene | None:
        """MuJoCo's scene, whose camera and options may be changed; None before the first frame."""
        return None if self._opened is None else self._opened.scene

    def draw(self, row: np.ndarray) -> np.ndarray:
        """Return the frame of a row, (height, width, 3) uint8.

        Raises:
            RuntimeError: if no OpenGL library can be used; the message says what to install.
        """
        return self._open(row).draw(row, self.camera_id)

    def depth(self, row: np.ndarray) -> np.ndarray:
        """Return the depths of a row, (height, width) float32 in [0, 1], without the ball.

        Raises:
            RuntimeError: if no OpenGL library can be used; the message says what to install.
        """
        return self._open(row).depth(row, self.camera_id)

    def switch(self, camera_id: int) -> None:
        """Draw what another camera sees, by its number; -1 for the free camera.

        Raises:
            ValueError: if the model has no such camera.
        """
        self.camera_id = checked_camera_id(camera_id, self._physics.model)

    def follow(self, physics: RobotPhysics) -> None:
        """Draw the robot with another model, of the same layout, from now on."""
        if self.scene is not None:
            self._kept = (self.scene.camera, self.scene.options)
        self.close()
        self._physics = physics

    def close(self) -> None:
        """Free the OpenGL context, if there is one."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _open(self, row: np.ndarray) -> _Offscreen:
        if self._opened is None:
            self._opened = _Offscreen(self._physics, self.view, row)
            if self._kept is not None:
                self._opened.scene.camera, self._opened.scene.options = self._kept
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs; its owner then calls `follow`."""
        return self.__dict__ | {"_opened": None, "_kept": None, "_physics": None}


class _Offscreen:
    """MuJoCo's scene with one robot in it, whose free camera looks at the given first row."""

    def __init__(self, physics: RobotPhysics, view: FrameView, row: np.ndarray) -> None:
        self._mujoco = mujoco = load_mujoco()
        self._physics = physics = _with_room(physics, view)
        self.scene = OffscreenScene(mujoco, physics.model, view.width, view.height, view.max_geom)
        self._data = physics.new_data()
        self._shows_forces = bool(view.visual_options)
        for flag, shown in (view.visual_options or {}).items():
            self.scene.options.flags[int(flag)] = shown
        self._kinds = mujoco.mjtCamera
        self._free_kind = self._kinds.mjCAMERA_FREE
        self._physics.pose(self._data, row, self._shows_forces)
        self.scene.camera.lookat[:] = np.median(self._data.geom_xpos, axis=0)
        self.scene.camera.distance = physics.model.stat.extent
        self._configure(view.default_camera_config or {})

    def draw(self, row: np.ndarray, camera_id: int) -> np.ndarray:
        self._pose(row, camera_id)
        fast = self._physics.excess(row)[0] > 0.0
        return self.scene.draw(self._data, lambda: self._add_ball(fast))

    def depth(self, row: np.ndarray, camera_id: int) -> np.ndarray:
        self._pose(row, camera_id)
        return self.scene.depth(self._data)

    def close(self) -> None:
        self.scene.close()

    def _pose(self, row: np.ndarray, camera_id: int) -> None:
        camera = self.scene.camera
        camera.type = self._free_kind if camera_id == FREE else self._kinds.mjCAMERA_FIXED
        camera.fixedcamid = camera_id
        self._physics.pose(self._data, row, self._shows_forces)

    def _configure(self, config: Mapping[str, Any]) -> None:
        """Set up the free camera; one that tracks a body is MuJoCo's tracking camera."""
        camera = self.scene.camera
        numbers = {name: int(config[name]) for name in ("trackbodyid", "type") if name in config}
        camera.distance = config.get("distance", camera.distance)
        camera.azimuth = config.get("azimuth", camera.azimuth)
        camera.elevation = config.get("elevation", camera.elevation)
        camera.orthographic = config.get("orthographic", camera.orthographic)
        camera.lookat[:] = config.get("lookat", camera.lookat)
        camera.trackbodyid = numbers.get("trackbodyid", camera.trackbodyid)
        if camera.trackbodyid >= 0:
            self._free_kind = self._kinds.mjCAMERA_TRACKING
        self._free_kind = numbers.get("type", self._free_kind)

    def _add_ball(self, fast: bool) -> None:
        place = self._data.xpos[self._physics.body] + np.array((0.0, 0.0, BALL_HEIGHT))
        color = FAST_COLOR if fast else SAFE_COLOR
        sphere = self._mujoco.mjtGeom.mjGEOM_SPHERE
        self.scene.add(sphere, (BALL_RADIUS,) * 3, place, np.eye(3), color)


class Viewer(NamedTuple):
    """What may be changed between frames, with the names of Gymnasium's viewers."""

    cam: Any  # MuJoCo's MjvCamera
    vopt: Any  # MuJoCo's MjvOption


class MujocoRenderer:
    """Renders one environment, with the names of Gymnasium's `MujocoRenderer`.

    Args:
        camera: draws the frames.
        current_row: the state to draw.
        fps: frames per second of a window.
    """

    def __init__(
        self, camera: TrackingCamera, current_row: Callable[[], np.ndarray], fps: int
    ) -> None:
        self._camera = camera
        self._current_row = current_row
        self._fps = fps
        self._window: FrameRenderer | None = None

    def render(self, render_mode: str | None) -> np.ndarray | tuple[np.ndarray, ...] | None:
        """Return the frame of the current state, or show it in a window.

        Args:
            render_mode: "rgb_array", "depth_array" (the depths without the ball), "rgbd_tuple"
                (both), or "human".

        Raises:
            ValueError: if it is another mode.
            RuntimeError: if it is "human" and there is no screen.
        """
        check_choice("render_mode", render_mode or "None", RENDERER_MODES)
        if render_mode == "depth_array":
            return self._camera.depth(self._current_row())
        if render_mode == "rgbd_tuple":
            return self._frame(), self._camera.depth(self._current_row())
        if render_mode == "human":
            if self._window is None:
                modes = {"render_modes": ["human"], "render_fps": self._fps}
                self._window = FrameRenderer("human", modes)
            return self._window.render(self._frame)
        return self._frame()

    @property
    def width(self) -> int:
        """Width of a frame [px]."""
        return self._camera.view.width

    @property
    def height(self) -> int:
        """Height of a frame [px]."""
        return self._camera.view.height

    @property
    def camera_id(self) -> int:
        """Number of the model's camera that is used; -1 for the free camera. May be set."""
        return self._camera.camera_id

    @camera_id.setter
    def camera_id(self, number: int) -> None:
        self._camera.switch(number)

    @property
    def default_cam_config(self) -> Mapping[str, Any] | None:
        """Fields of the free camera, as given to the environment."""
        return self._camera.view.default_camera_config

    @property
    def viewer(self) -> Viewer | None:
        """The camera and the options of the scene; None before the first frame."""
        scene = self._camera.scene
        return None if scene is None else Viewer(scene.camera, scene.options)

    def close(self) -> None:
        """Close the window, and free the OpenGL context."""
        if self._window is not None:
            self._window.close()
        self._camera.close()

    def _frame(self) -> np.ndarray:
        return self._camera.draw(self._current_row())


def checked_camera_id(given: Any, model: Any) -> int:
    """Return the number of one of a model's cameras, or -1 for the free camera.

    Raises:
        ValueError: if there is none with that number.
    """
    if is_number(given) and given in range(FREE, model.ncam):
        return int(given)
    raise ValueError(
        f"camera_id is {given!r}; pass a whole number from 0 to {model.ncam - 1}, or -1 for the "
        "free camera"
    )


def _camera_number(model: Any, view: FrameView) -> int:
    if view.camera_id is not None:
        return checked_camera_id(view.camera_id, model)
    if view.camera_name is None and view.default_camera_config is not None:
        return FREE
    mujoco = load_mujoco()
    name = TRACK if view.camera_name is None else view.camera_name
    number = int(mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name))
    if number < 0 and view.camera_name is not None:
        names = [model.camera(i).name for i in range(model.ncam)]
        check_choice("camera_name", name, [known for known in names if known])
    return number


def _check_camera_config(config: Mapping[str, Any] | None) -> None:
    if not isinstance(config, Mapping | None):
        raise ValueError(
            f"default_camera_config is {config!r}; pass a dictionary such as {{'distance': 3.0}}"
        )
    for name, value in (config or {}).items():
        if name not in CAMERA_FIELDS:
            raise ValueError(unknown_name("key of default_camera_config", name, CAMERA_FIELDS))
        if name == "lookat":
            checked_array("default_camera_config['lookat']", value, (3,), "x, y and z [m]")
        elif not (is_number(value) and math.isfinite(value)):
            raise ValueError(f"default_camera_config[{name!r}] is {value!r}; pass a number")
        elif name == "type" and value not in FREE_KINDS:
            raise ValueError(
                f"default_camera_config['type'] is {value!r}; pass 0 (free) or 1 (tracking), or "
                "camera_id for one of the model's cameras"
            )


def _check_tracked_body(model: Any, config: Mapping[str, Any]) -> None:
    """Raise ValueError where MuJoCo would end the process at the first frame."""
    least = 0 if config.get("type") == TRACKING else -1
    body = config.get("trackbodyid", -1)
    if body not in range(least, model.nbody):
        raise ValueError(
            f"default_camera_config['trackbodyid'] is {body!r}; pass the number of a body to "
            f"track, from 0 to {model.nbody - 1}{'' if least == 0 else ', or -1 for none'}"
        )


def _check_flags(options: Mapping[int, bool]) -> None:
    end = int(load_mujoco().mjtVisFlag.mjNVISFLAG)
    wanted = f"pass numbers of MuJoCo's mjtVisFlag, from 0 to {end - 1}"
    if not isinstance(options, Mapping):
        raise ValueError(f"visual_options is {options!r}; {wanted}, in a dictionary with bools")
    for flag in options:
        try:
            known = 0 <= int(flag) < end
        except (TypeError, ValueError):
            known = False
        if not known:
            raise ValueError(f"visual_options has the key {flag!r}; {wanted}")


def _with_room(physics: RobotPhysics, view: FrameView) -> RobotPhysics:
    """Return physics with a model that allows frames of the view's size."""
    room = physics.model.vis.global_
    if view.width <= room.offwidth and view.height <= room.offheight:
        return physics
    own = physics.private() if physics.shared else physics
    own.model.vis.global_.offwidth = max(view.width, room.offwidth)
    own.model.vis.global_.offheight = max(view.height, room.offheight)
    return own
