"""The spheres that obstruct the figure eight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from safe_envs.quadrotor.obstacles import SPHERE_RADIUS, SphereGroup, SpherePath
from safe_envs.quadrotor.reference import FigureEight

__all__ = ["SCENES", "SPHERE_RADIUS", "Scene", "Stack", "own_scene", "stacked_scene"]

LARGEST_SHIFT = 0.06  # [m] of a stack, sideways and up or down, drawn for every episode


@dataclass(frozen=True)
class Stack:
    """Spheres above each other, which shift together from episode to episode.

    Args:
        phase: position along the reference, as a fraction of its period.
        side: distance from the reference, to the left of its direction [m].
        heights: of the centers above the reference [m].
    """

    phase: float
    side: float
    heights: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, eq=False)
class Scene:
    """Spheres along a reference, in groups that may be shifted.

    Args:
        reference: the trajectory that they obstruct.
        groups: the spheres.
        shift_axes: unit vectors along which each group may be shifted, (groups, s, 3).
        largest_shift: drawn for every episode along each of them [m].
    """

    reference: FigureEight
    groups: tuple[SphereGroup, ...]
    shift_axes: np.ndarray
    largest_shift: float

    @property
    def num_obstacles(self) -> int:
        """The number of spheres."""
        return len(self._heights)

    @cached_property
    def radii(self) -> np.ndarray:
        """The spheres' radii, (obstacles,) [m], read-only."""
        radii = np.array([radius for group in self.groups for radius in group.radii])
        radii.setflags(write=False)
        return radii

    @cached_property
    def moving(self) -> np.ndarray:
        """The indices of the spheres that move, (m,)."""
        return np.flatnonzero(
            [group.path is not None for group in self.groups for _ in group.radii]
        )

    def offsets_shape(self, count: int) -> tuple[int, int, int]:
        """Return the shape of the shifts of `count` episodes, (count, groups, axes)."""
        return count, len(self.groups), self.shift_axes.shape[1]

    def draw_offsets(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return uniform shifts of the groups, (count, groups, axes) [m]; zeros draw nothing."""
        shape = self.offsets_shape(count)
        if self.largest_shift == 0.0:
            return np.zeros(shape)
        return rng.uniform(-self.largest_shift, self.largest_shift, size=shape)

    def anchors(self, offsets: np.ndarray) -> np.ndarray:
        """Return where the shifted groups stand, (N, groups, 3) [m]."""
        anchors = np.broadcast_to(self._places, (len(offsets), len(self.groups), 3))
        for axis in range(self.shift_axes.shape[1]):
            anchors = anchors + offsets[..., axis, None] * self.shift_axes[:, axis]
        return anchors

    def center_rows(self, anchors: np.ndarray, times: Sequence[float]) -> np.ndarray:
        """Return the spheres' centers, (obstacles, 3, N) [m].

        Args:
            anchors: where the groups stand, (groups, 3, N) [m].
            times: on the reference, N of them [s]; read only if a sphere moves.
        """
        centers = anchors[self._group_of]
        centers[:, 2] += self._heights[:, None]
        for spheres, path in self._paths:
            for column, time in enumerate(times):
                centers[spheres, :, column] += path.at(time)
        return centers

    def motion_rows(self, times: Sequence[float]) -> np.ndarray:
        """Return velocities, accelerations and jerks, (3, obstacles, 3, N)."""
        motion = np.zeros((3, self.num_obstacles, 3, len(times)))
        for spheres, path in self._paths:
            for column, time in enumerate(times):
                motion[:, spheres, :, column] = path.motion(time)
        return motion

    @cached_property
    def _places(self) -> np.ndarray:
        """Where the groups stand without a shift, (groups, 3)."""
        return np.array([group.place for group in self.groups]).reshape(-1, 3)

    @cached_property
    def _heights(self) -> np.ndarray:
        return np.array([height for group in self.groups for height in group.heights])

    @cached_property
    def _group_of(self) -> np.ndarray:
        sizes = [len(group.heights) for group in self.groups]
        return np.repeat(np.arange(len(self.groups)), np.array(sizes, dtype=np.int64))

    @cached_property
    def _paths(self) -> list[tuple[slice, SpherePath]]:
        ends = np.cumsum([len(group.heights) for group in self.groups]).tolist()
        return [
            (slice(end - len(group.heights), end), group.path)
            for group, end in zip(self.groups, ends, strict=True)
            if group.path is not None
        ]


def stacked_scene(stacks: Sequence[Stack], reference: FigureEight) -> Scene:
    """Return stacks along a reference; they shift sideways and upward by up to 0.06 m."""
    times = reference.period * np.array([stack.phase for stack in stacks])
    vx, vy, _ = reference.at(times).velocity
    normals = np.stack([-vy, vx, 0.0 * vx], axis=-1) / np.hypot(vx, vy)[:, None]
    sides = np.array([stack.side for stack in stacks])
    places = reference.at(times).position.T + sides[:, None] * normals
    upward = np.broadcast_to([0.0, 0.0, 1.0], normals.shape)
    groups = tuple(
        SphereGroup(tuple(place), stack.heights, (SPHERE_RADIUS,) * len(stack.heights))
        for stack, place in zip(stacks, places.tolist(), strict=True)
    )
    return Scene(reference, groups, np.stack([normals, upward], axis=1), LARGEST_SHIFT)


def own_scene(groups: Sequence[SphereGroup], reference: FigureEight) -> Scene:
    """Return obstacles that shift along x, y and z only if a reset asks for it."""
    axes = np.broadcast_to(np.eye(3), (len(groups), 3, 3))
    return Scene(reference, tuple(groups), axes, 0.0)


_LEVELS = tuple(-1.0 + 0.25 * level for level in range(21))  # [m] from the ground up to 5 m

SPHERES = (
    Stack(0.10, 0.08),
    Stack(0.32, -0.08, (0.05,)),
    Stack(0.60, 0.08, (-0.05,)),
    Stack(0.85, -0.08),
)
COLUMN = (Stack(0.10, 0.05, _LEVELS), Stack(0.60, 0.05, _LEVELS))
SCENES = {"spheres": SPHERES, "column": COLUMN}
