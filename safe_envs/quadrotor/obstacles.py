"""Custom obstacles for the quadrotor: spheres, columns of spheres, and moving spheres.

gym.make("Safe/Quadrotor-v0", obstacles=[(0.9, 0.4, 1.0, 0.3)])
gym.make("Safe/Quadrotor-v0", obstacles=[SphereColumns([(0.8, 0.2)]), MovingSpheres(swing)])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from safe_envs.contract.argument_checks import check_positive

SPHERE_RADIUS = 0.25  # [m]
COLUMN_TOP = 5.0  # [m] above the ground
DIFFERENCE_STEP = 0.01  # [s] for differentiating paths given without derivatives


class SpherePath(Protocol):
    """The positions of m spheres at any time."""

    def at(self, time: float) -> np.ndarray:
        """Return the centers, (m, 3) [m]."""
        ...

    def motion(self, time: float) -> np.ndarray:
        """Return velocities, accelerations and jerks, (3, m, 3) [m/s, m/s^2, m/s^3]."""
        ...


class SphereGroup(NamedTuple):
    """Spheres that shift together."""

    place: tuple[float, ...]  # (3,) [m]
    heights: tuple[float, ...]  # of the centers above the place, (m,) [m]
    radii: tuple[float, ...]  # (m,) [m]
    path: SpherePath | None = None  # of the centers, which is added to the place; None at rest


@runtime_checkable
class Obstacles(Protocol):
    """Some obstacles, as spheres."""

    def groups(self) -> list[SphereGroup]:
        """Return the spheres, in groups."""
        ...


@dataclass(frozen=True, eq=False)
class Spheres:
    """Spheres at rest.

    Args:
        centers: (k, 3) [m]; k may be 0.
        radii: one for all, or (k,) [m].

    Raises:
        ValueError: if an array has another shape, or a radius is not positive.
    """

    centers: Any
    radii: Any = SPHERE_RADIUS

    def __post_init__(self) -> None:
        centers = _points("centers", self.centers, 3, "x, y and z of each sphere [m]")
        object.__setattr__(self, "centers", centers)
        object.__setattr__(self, "radii", _radii(self.radii, len(centers)))

    def groups(self) -> list[SphereGroup]:
        """Return one group for each sphere."""
        return [
            SphereGroup(tuple(center), (0.0,), (radius,))
            for center, radius in zip(self.centers.tolist(), self.radii.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class SphereColumns:
    """Columns from the ground upward, each a stack of spheres one radius apart.

    They are approximated as in Safe/QuadrotorColumn-v0: halfway between two centers a column is
    narrower by 13 percent of its radius.

    Args:
        places: x and y of the axes, (k, 2) [m].
        radii: one for all, or (k,) [m].
        top: height of the highest center, at least [m].

    Raises:
        ValueError: if an array has another shape, or a number is not positive.
    """

    places: Any
    radii: Any = SPHERE_RADIUS
    top: float = COLUMN_TOP

    def __post_init__(self) -> None:
        places = _points("places", self.places, 2, "x and y of each column [m]")
        check_positive(top=self.top)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "radii", _radii(self.radii, len(places)))

    def groups(self) -> list[SphereGroup]:
        """Return one group for each column."""
        found = []
        for (x, y), radius in zip(self.places.tolist(), self.radii.tolist(), strict=True):
            levels = int(np.ceil(self.top / radius)) + 1
            heights = tuple((radius * np.arange(levels)).tolist())
            found.append(SphereGroup((x, y, 0.0), heights, (radius,) * levels))
        return found


@dataclass(frozen=True, eq=False)
class MovingSpheres:
    """Spheres that move along functions of the time on the reference, `env.unwrapped.time`.

    That time increases during an episode and starts anywhere in the reference's period. A function
    defined at the top level of a module can be pickled with the environment. It is called once for
    every environment and evaluation, also in native vector forms.

    Args:
        centers: maps a time [s] to the centers, (k, 3) [m]; three times differentiable.
        radii: one for all, or (k,) [m].
        derivatives: maps a time [s] to velocities, accelerations and jerks, (3, k, 3); the safety
            filter and safe starts need them. None uses central differences of `centers`, which
            takes four more calls.

    Raises:
        ValueError: if an array has another shape or is not finite, or a radius is not positive.
        TypeError: if a function cannot be called.
    """

    centers: Callable[[float], Any]
    radii: Any = SPHERE_RADIUS
    derivatives: Callable[[float], Any] | None = None

    def __post_init__(self) -> None:
        for name, function in (("centers", self.centers), ("derivatives", self.derivatives)):
            if not callable(function) and (name == "centers" or function is not None):
                raise TypeError(f"{name} is {function!r}; pass a function of the time [s]")
        first = _points("centers(0.0)", self.centers(0.0), 3, "x, y and z of each sphere [m]")
        object.__setattr__(self, "radii", _radii(self.radii, len(first)))
        self.motion(0.0)

    def groups(self) -> list[SphereGroup]:
        """Return all of them as one group."""
        count = len(self.radii)
        return [SphereGroup((0.0,) * 3, (0.0,) * count, tuple(self.radii.tolist()), self)]

    def at(self, time: float) -> np.ndarray:
        """Return the centers, (k, 3) [m]."""
        return _shaped("centers", self.centers, time, (len(self.radii), 3))

    def motion(self, time: float) -> np.ndarray:
        """Return velocities, accelerations and jerks, (3, k, 3)."""
        if self.derivatives is not None:
            return _shaped("derivatives", self.derivatives, time, (3, len(self.radii), 3))
        h = DIFFERENCE_STEP
        a, b, c, d, e = (self.at(time + i * h) for i in (-2, -1, 0, 1, 2))
        return np.stack(
            [
                (a - 8.0 * b + 8.0 * d - e) / (12.0 * h),
                (-a + 16.0 * b - 30.0 * c + 16.0 * d - e) / (12.0 * h * h),
                (-a + 2.0 * b - 2.0 * d + e) / (2.0 * h**3),
            ]
        )


def groups_of(obstacles: Any) -> list[SphereGroup]:
    """Return the groups of obstacles given in any form.

    Args:
        obstacles: `Spheres`, `SphereColumns` or `MovingSpheres`; an array (k, 4) of x, y, z and
            radius, or (k, 3) with a radius of 0.25 m; a function of time for `MovingSpheres`; or a
            list of these. An empty list means no obstacles.

    Raises:
        ValueError: if it is none of these.
    """
    if isinstance(obstacles, Obstacles):
        return obstacles.groups()
    if callable(obstacles):
        return MovingSpheres(obstacles).groups()
    if isinstance(obstacles, Iterable) and not isinstance(obstacles, np.ndarray | str):
        parts = list(obstacles)
        if any(isinstance(part, Obstacles) or callable(part) for part in parts):
            return [group for part in parts for group in groups_of(part)]
        obstacles = parts
    array = _numbers("obstacles", obstacles, _FORMS)
    if not array.size:
        return []
    if array.ndim != 2 or array.shape[1] not in (3, 4):
        raise ValueError(f"obstacles have shape {array.shape}; pass {_FORMS}")
    return Spheres(array[:, :3], array[:, 3] if array.shape[1] == 4 else SPHERE_RADIUS).groups()


_FORMS = (
    "an array (k, 4) of x, y, z and radius, or (k, 3) of x, y and z [m], Spheres, SphereColumns or "
    "MovingSpheres of safe_envs.quadrotor.obstacles, a function of time, or a list of these; "
    "pass an empty list for no obstacles"
)


def _numbers(name: str, given: Any, wanted: str) -> np.ndarray:
    try:
        array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {given!r}, not numbers; pass {wanted}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} {array.tolist()} contains NaN or infinite entries")
    return array


def _points(name: str, given: Any, size: int, meaning: str) -> np.ndarray:
    """Return points (k, size), read-only; an empty list is (0, size)."""
    wanted = f"an array of shape (k, {size}): {meaning}"
    array = _numbers(name, given, wanted)
    if not array.size:
        array = array.reshape(0, size)
    if array.ndim != 2 or array.shape[1] != size:
        raise ValueError(f"{name} has shape {array.shape}; pass {wanted}")
    array.setflags(write=False)
    return array


def _radii(given: Any, count: int) -> np.ndarray:
    """Return positive radii (count,), read-only."""
    wanted = f"a positive number, or {count} of them [m]"
    array = _numbers("radii", given, wanted)
    if array.shape not in ((), (count,)):
        raise ValueError(f"radii have shape {array.shape}; pass {wanted}")
    if not (array > 0.0).all():
        raise ValueError(f"radii are {array.tolist()}; pass {wanted}")
    radii = np.full(count, array)
    radii.setflags(write=False)
    return radii


def _shaped(
    name: str, function: Callable[[float], Any], time: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the function's value at a time, as finite numbers of this shape."""
    array = np.array(function(time), dtype=np.float64)
    if array.size == 0 and 0 in shape:
        return np.zeros(shape)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(
            f"{name}({time}) is {array.tolist()}, of shape {array.shape}; return finite numbers of "
            f"shape {shape}"
        )
    return array
