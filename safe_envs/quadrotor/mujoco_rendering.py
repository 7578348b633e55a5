"""The flight in three dimensions, drawn by MuJoCo, which does not simulate it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from safe_envs.quadrotor.mujoco_model import mujoco_text
from safe_envs.quadrotor.rendering import (
    LEAST_DRAWN_ARM,
    ROTOR_SHARE,
    SPHERE,
    THRUST,
    Point,
    sphere_colors,
)
from safe_envs.quadrotor.task import CONTROL_DT, FlightTask
from safe_envs.quadrotor.vehicle import Vehicle
from safe_envs.rendering.frames import AGENT, BACKGROUND, GOAL, INK
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.rendering.offscreen_scene import OffscreenScene

WIDTH, HEIGHT = 640, 480  # [pixels]
MAX_GEOMS = 2000
AZIMUTH = 72.0  # [degrees], 90 looks along y
ELEVATION = -28.0  # [degrees]
DISTANCE = 3.05  # from the middle of the figure eight, in units of its length A
CURVE_PIECES = 160  # of the reference
TRAIL_STRIDE = 2  # steps between the trail's points
LONGEST_TRAIL = 600  # points; longer trails are drawn coarser
CURVE_WIDTH = 0.006  # [m] for A = 1 m; this and the next
TRAIL_WIDTH = 0.011  # [m]
CALM_ALPHA = 0.42  # of spheres that were not touched
TOUCHED_ALPHA = 0.6
SHADOW_ALPHA = 0.16
GRID = (186, 190, 196)

UPRIGHT = np.eye(3)
UPRIGHT.setflags(write=False)

Color = tuple[int, int, int]


class FlightCamera:
    """Draws the flight from a fixed camera above and to the side, 640 x 480.

    Small vehicles are drawn larger than they are, as in the two-view drawing: their arms are at
    least 0.12 m long. Shadows fall straight down. OpenGL is not used before the first frame, and
    copies open a context of their own.

    Args:
        task: vehicle, reference and radii.

    Raises:
        gym.error.DependencyNotInstalled: if mujoco is missing.
    """

    def __init__(self, task: FlightTask) -> None:
        _mujoco()
        self._task = task
        self._opened: _Offscreen | None = None

    def draw(
        self, state: Point, trail: Sequence[Point], centers: Sequence[Point], target: Point
    ) -> np.ndarray:
        """Return the frame, (480, 640, 3) uint8.

        Spheres are red while touched and pale red afterward.

        Args:
            state: (13,).
            trail: positions since the start, the current one last.
            centers: of the spheres.
            target: the reference's current position.

        Raises:
            RuntimeError: if no OpenGL library can be used; the message says what to install.
        """
        if self._opened is None:
            self._opened = _Offscreen(self._task)
        return self._opened.draw(state, trail, centers, target)

    def close(self) -> None:
        """Free the OpenGL context, if there is one."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


class _Offscreen:
    """MuJoCo's scene with the flight in it."""

    def __init__(self, task: FlightTask) -> None:
        self._mujoco = mujoco = _mujoco()
        self._task = task
        self._scale = task.reference.length
        text = mujoco_text(task.vehicle, CONTROL_DT, _shape(task.vehicle), _scenery(task))
        self._model = mujoco.MjModel.from_xml_string(text)
        self._data = mujoco.MjData(self._model)
        self._scene = OffscreenScene(mujoco, self._model, WIDTH, HEIGHT, MAX_GEOMS)
        self._scene.options.sitegroup[:] = 0
        camera = self._scene.camera
        camera.azimuth, camera.elevation = AZIMUTH, ELEVATION
        camera.lookat[:] = (0.0, 0.0, 0.7 * task.reference.height)
        camera.distance = DISTANCE * self._scale
        curve = task.reference.at(np.linspace(0.0, task.reference.period, CURVE_PIECES + 1))
        self._curve = curve.position.T  # (pieces + 1, 3)

    def draw(
        self, state: Point, trail: Sequence[Point], centers: Sequence[Point], target: Point
    ) -> np.ndarray:
        mujoco = self._mujoco
        self._data.qpos[:3], self._data.qpos[3:] = state[:3], state[6:10]
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        return self._scene.draw(self._data, lambda: self._add_flight(state, trail, centers, target))

    def close(self) -> None:
        self._scene.close()

    def _add_flight(
        self, state: Point, trail: Sequence[Point], centers: Sequence[Point], target: Point
    ) -> None:
        self._add_shadows(state, centers)
        self._add_path(self._curve, CURVE_WIDTH, GOAL)
        stride = max(TRAIL_STRIDE, math.ceil(len(trail) / LONGEST_TRAIL))
        self._add_path(np.array([*trail[:-1:stride], trail[-1]]), TRAIL_WIDTH, AGENT)
        self._add_sphere(target, 0.03 * self._scale, GOAL, 1.0)
        colors = sphere_colors(trail, centers, self._task)
        radii = self._task.scene.radii.tolist()
        for center, radius, color in zip(centers, radii, colors, strict=True):
            alpha = CALM_ALPHA if color == SPHERE else TOUCHED_ALPHA
            self._add_sphere(center, radius, color, alpha)

    def _add_sphere(self, center: Point, radius: float, color: Color, alpha: float) -> None:
        self._add(self._mujoco.mjtGeom.mjGEOM_SPHERE, (radius,) * 3, center, color, alpha)

    def _add_shadows(self, state: Point, centers: Sequence[Point]) -> None:
        """Add a disc on the ground below the vehicle and each stack of spheres."""
        disc = self._mujoco.mjtGeom.mjGEOM_CYLINDER
        reach = 1.2 * _drawn_arm(self._task.vehicle)
        discs = np.column_stack([np.array(centers).reshape(-1, 3)[:, :2], self._task.scene.radii])
        spots = np.unique(discs, axis=0)  # one for each stack
        for x, y, radius in (*spots, (state[0], state[1], reach)):
            self._add(disc, (radius, 0.001, 0.0), (x, y, 0.002), INK, SHADOW_ALPHA)

    def _add_path(self, points: np.ndarray, width: float, color: Color) -> None:
        """Add a chain of thin boxes through points (n, 3): capsules are far slower."""
        box, half = self._mujoco.mjtGeom.mjGEOM_BOX, 0.5 * width * self._scale
        for size, middle, axes in zip(*_boxes(points, half), strict=True):
            self._add(box, size, middle, color, 1.0, axes)

    def _add(
        self,
        kind: Any,
        size: Sequence[float],
        place: Point,
        color: Color,
        alpha: float,
        axes: np.ndarray = UPRIGHT,
    ) -> None:
        self._scene.add(kind, size, place, axes, (*_share(color), alpha))


def _mujoco() -> ModuleType:
    return load_mujoco("render_backend='mujoco'", ', or pass render_backend="drawing"')


def _boxes(points: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return half sizes (n, 3), middles (n, 3) and axes (n, 3, 3) of boxes that join points."""
    along = np.diff(points, axis=0)
    lengths = np.linalg.norm(along, axis=1)
    moved = lengths > 0.0
    along, lengths, middles = along[moved], lengths[moved], (points[:-1] + 0.5 * along)[moved]
    third = along / lengths[:, None]
    first = np.cross(UPRIGHT[np.abs(third).argmin(axis=1)], third)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    axes = np.stack([first, np.cross(third, first), third], axis=2)
    sizes = np.stack([0.0 * lengths + half, 0.0 * lengths + half, 0.5 * lengths + half], axis=1)
    return sizes, middles, axes


def _drawn_arm(vehicle: Vehicle) -> float:
    """Return how long the arms are drawn [m]."""
    return max(vehicle.longest_arm, LEAST_DRAWN_ARM)


def _shape(vehicle: Vehicle) -> str:
    """Return the vehicle's shape: a body with an orange nose, arms, motors and discs."""
    arm = _drawn_arm(vehicle)
    enlarged = arm / vehicle.longest_arm
    parts = [
        _geom("box", (0.30, 0.20, 0.09), (0.0, 0.0, 0.0), INK, arm),
        _geom("ellipsoid", (0.24, 0.16, 0.12), (0.0, 0.0, 0.09), AGENT, arm),
        _geom("box", (0.08, 0.13, 0.06), (0.34, 0.0, 0.0), THRUST, arm),
    ]
    disc = ROTOR_SHARE * arm
    for x, y in zip(vehicle.rotor_x, vehicle.rotor_y, strict=True):
        x, y = enlarged * x, enlarged * y
        color = THRUST if x > 0.0 else AGENT
        parts += [
            f'<geom type="capsule" fromto="0 0 0 {x} {y} 0" size="{0.05 * arm}" {_rgba(INK)}/>',
            f'<geom type="cylinder" pos="{x} {y} {0.08 * arm}" size="{0.09 * arm} {0.10 * arm}" '
            f"{_rgba(INK)}/>",
            f'<geom type="cylinder" pos="{x} {y} {0.2 * arm}" size="{disc} {0.015 * arm}" '
            f"{_rgba(color, 0.55)}/>",
        ]
    return "".join(parts)


def _geom(
    kind: str, size: Sequence[float], place: Sequence[float], color: Color, unit: float
) -> str:
    sizes = " ".join(str(unit * x) for x in size)
    places = " ".join(str(unit * x) for x in place)
    return f'<geom type="{kind}" pos="{places}" size="{sizes}" {_rgba(color)}/>'


def _scenery(task: FlightTask) -> str:
    """Return sky, light, and a ground with a grid of 0.5 m."""
    sky, mark = " ".join(map(str, _share(BACKGROUND))), " ".join(map(str, _share(GRID)))
    size = 20.0 * task.reference.length
    return f"""
    <visual><global offwidth="{WIDTH}" offheight="{HEIGHT}"/><quality offsamples="4"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <map znear="0.02" zfar="60"/></visual>
    <default><geom contype="0" conaffinity="0" mass="0"/></default>
    <asset><texture name="sky" type="skybox" builtin="gradient" rgb1="0.80 0.87 0.94"
    rgb2="{sky}" width="64" height="384"/>
    <texture name="grid" type="2d" builtin="flat" rgb1="0.93 0.92 0.89" rgb2="0.93 0.92 0.89"
    mark="edge" markrgb="{mark}" width="256" height="256"/>
    <material name="grid" texture="grid" texrepeat="2 2" texuniform="true" specular="0"/></asset>
    <worldbody><light pos="0 0 6" dir="0.25 0.35 -1" directional="true"
    diffuse="0.45 0.45 0.45" specular="0.1 0.1 0.1"/>
    <geom name="ground" type="plane" size="{size} {size} 0.1" material="grid"/></worldbody>"""


def _share(color: Color) -> tuple[float, float, float]:
    """Return a color of bytes as numbers in [0, 1]."""
    return color[0] / 255.0, color[1] / 255.0, color[2] / 255.0


def _rgba(color: Color, alpha: float = 1.0) -> str:
    return f'rgba="{" ".join(map(str, (*_share(color), alpha)))}"'
