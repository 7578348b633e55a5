"""The spheres that obstruct the figure eight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from safe_envs.quadrotor.reference import FigureEight

SPHERE_RADIUS = 0.25  # [m]
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


@dataclass(frozen=True)
class Scene:
    """Stacks of spheres along a reference. All numbers are our choice.

    Args:
        stacks: the obstacles.
        reference: the trajectory that they obstruct.
    """

    stacks: tuple[Stack, ...]
    reference: FigureEight

    @property
    def num_obstacles(self) -> int:
        """The number of spheres."""
        return len(self._heights)

    def draw_offsets(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return uniform shifts of the stacks, sideways and upwards, (count, stacks, 2) [m]."""
        return rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, size=(count, len(self.stacks), 2))

    def anchors(self, offsets: np.ndarray) -> np.ndarray:
        """Return where the shifted stacks stand, (N, stacks, 3) [m]."""
        return self._places + offsets[..., :1] * self._normals + offsets[..., 1:] * _UP

    def centers(self, anchors: np.ndarray) -> np.ndarray:
        """Return the spheres' centers, (N, obstacles, 3) [m], of stacks at (N, stacks, 3)."""
        return np.moveaxis(self.center_rows(np.moveaxis(anchors, 0, -1)), -1, 0)

    def center_rows(self, anchors: np.ndarray) -> np.ndarray:
        """Return the spheres' centers, (obstacles, 3, N) [m], of stacks at (stacks, 3, N)."""
        centers = anchors[self._stack_of]
        centers[:, 2] += self._heights[:, None]
        return centers

    @cached_property
    def _normals(self) -> np.ndarray:
        """Horizontal unit vectors to the left of the reference's direction, (stacks, 3)."""
        vx, vy, _ = self.reference.at(self._times).velocity
        return np.stack([-vy, vx, 0.0 * vx], axis=-1) / np.hypot(vx, vy)[:, None]

    @cached_property
    def _places(self) -> np.ndarray:
        """Where the stacks stand without a shift, (stacks, 3)."""
        sides = np.array([stack.side for stack in self.stacks])
        return self.reference.at(self._times).position.T + sides[:, None] * self._normals

    @property
    def _times(self) -> np.ndarray:
        return self.reference.period * np.array([stack.phase for stack in self.stacks])

    @cached_property
    def _heights(self) -> np.ndarray:
        return np.array([height for stack in self.stacks for height in stack.heights])

    @cached_property
    def _stack_of(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.stacks)), [len(s.heights) for s in self.stacks])


_UP = np.array([0.0, 0.0, 1.0])
_UP.setflags(write=False)
_LEVELS = tuple(-1.0 + 0.25 * level for level in range(21))  # [m] from the ground up to 5 m

SPHERES = (
    Stack(0.10, 0.08),
    Stack(0.32, -0.08, (0.05,)),
    Stack(0.60, 0.08, (-0.05,)),
    Stack(0.85, -0.08),
)
COLUMN = (Stack(0.10, 0.05, _LEVELS), Stack(0.60, 0.05, _LEVELS))
SCENES = {"spheres": SPHERES, "column": COLUMN}
