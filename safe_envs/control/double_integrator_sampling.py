"""Uniform first states of the double integrator, drawn from R_safe almost without rejection.

A grid of cells covers R_safe. A candidate is uniform over the covering cells. It is accepted at
once in a cell well inside R_safe, and checked by a rollout in a cell near the boundary. The single
and the batched form both use one row of three uniform numbers per candidate.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from safe_envs.control.double_integrator_reference import BOX, in_safe_set, is_safe_state

CELLS = 150  # per axis
WIDTH = 2.0 * BOX / CELLS
FEW = 60  # below this many, single rollouts are faster than a batched one


class Cover(NamedTuple):
    """Cells that together contain R_safe."""

    corners: np.ndarray  # (cells, 2) lower corner of each
    inside: np.ndarray  # (cells,) bool: the cell and its neighbors have safe corners only


@cache
def safe_set_cover() -> Cover:
    """Return the cells with a safe corner among those of the cell and its neighbors."""
    nodes = np.linspace(-BOX, BOX, CELLS + 1)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    safe = np.zeros((CELLS + 3, CELLS + 3), dtype=np.bool_)  # a frame of unsafe nodes around
    safe[1:-1, 1:-1] = in_safe_set(grid).reshape(CELLS + 1, CELLS + 1)
    around = np.lib.stride_tricks.sliding_window_view(safe, (4, 4))  # (CELLS, CELLS, 4, 4)
    cells = np.argwhere(around.any(axis=(2, 3)))
    inside = np.asarray(around.all(axis=(2, 3)))[cells[:, 0], cells[:, 1]]
    return Cover(-BOX + WIDTH * cells, inside)


def sample_safe_state(rng: np.random.Generator) -> tuple[float, float]:
    """Return one state (position, velocity), uniform over R_safe."""
    cover = safe_set_cover()
    while True:
        which, right, up = rng.random(3).tolist()
        cell = int(which * len(cover.inside))
        left, low = cover.corners[cell].tolist()
        position, velocity = left + WIDTH * right, low + WIDTH * up
        if cover.inside[cell] or is_safe_state(position, velocity):
            return position, velocity


def sample_safe_states(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return `count` states uniform over R_safe, shape (count, 2)."""
    cover = safe_set_cover()
    states = np.empty((count, 2))
    missing = np.arange(count)
    while len(missing):
        uniforms = rng.random((len(missing), 3))
        cells = (uniforms[:, 0] * len(cover.inside)).astype(np.int64)
        candidates = cover.corners[cells] + WIDTH * uniforms[:, 1:]
        states[missing] = candidates
        accepted = cover.inside[cells]
        unsure = np.flatnonzero(~accepted)
        accepted[unsure] = _are_safe(candidates[unsure])
        missing = missing[~accepted]
    return states


def _are_safe(states: np.ndarray) -> np.ndarray:
    if len(states) > FEW:
        return in_safe_set(states)
    return np.array([is_safe_state(*state) for state in states.tolist()], dtype=np.bool_)
