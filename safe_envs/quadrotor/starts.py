"""First states of episodes: near the reference, and not on a collision course."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from safe_envs.contract.argument_checks import checked_array
from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.task import FlightTask

POSITION_STD = 0.03  # [m] around the reference
VELOCITY_STD = 0.05  # [m/s]
CLEARANCE = 0.03  # [m] added to the radii
LEAST_BARRIER = 0.05  # [m^2]
DECAY = 4.0  # [1/s] at which a barrier may shrink
LARGEST_TRIES = 2000  # for one start; about one draw in twenty is clear of all spheres
CANDIDATES = 4096  # drawn at once, for all starts together
CANDIDATES_EACH = 64


class Starts(NamedTuple):
    """The first states of `count` episodes."""

    states: np.ndarray  # (count, 13)
    times: np.ndarray  # (count,) on the reference [s]
    offsets: np.ndarray  # (count, stacks, 2) shifts of the obstacles [m]


def keeps_clear(
    position: np.ndarray, velocity: np.ndarray, centers: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """Return whether a flight could still avoid all spheres, (n, tries).

    With h = |p - c|^2 - (r + 0.03)^2 for every sphere, h > 0.05 and both
    h' + 4 h > 0 and h'' + 8 h' + 16 h > 0, where the acceleration in h'' is zero.

    Args:
        position: (3, n, tries) [m].
        velocity: (3, n, tries) [m/s].
        centers: (obstacles, 3, n) [m].
        radii: (obstacles,) [m].
    """
    x, y, z = (position[i] - centers[:, i, :, None] for i in range(3))  # (obstacles, n, tries)
    u, v, w = velocity
    barrier = x * x + y * y + z * z - ((radii + CLEARANCE) ** 2)[:, None, None]
    rate = 2.0 * (x * u + y * v + z * w)
    curvature = 2.0 * (u * u + v * v + w * w)
    first = rate + DECAY * barrier
    second = curvature + 2.0 * DECAY * rate + DECAY**2 * barrier
    return ((barrier > LEAST_BARRIER) & (first > 0.0) & (second > 0.0)).all(axis=0)


def draw_starts(
    task: FlightTask,
    rng: np.random.Generator,
    count: int,
    time: float | None = None,
    offsets: np.ndarray | None = None,
) -> Starts:
    """Return random starts near the reference that keep clear of the obstacles.

    Args:
        task: reference and obstacles.
        rng: source of the draws.
        count: number of episodes.
        time: on the reference [s]; None for uniform over its period.
        offsets: of the obstacles, (stacks, 2) [m]; None to draw them.

    Raises:
        ValueError: if no clear start was found in 2000 draws.
    """
    shape = (count, len(task.scene.stacks), 2)
    shifts = task.scene.draw_offsets(rng, count) if offsets is None else np.array(offsets)
    shifts = np.broadcast_to(shifts, shape)
    centers = task.scene.center_rows(np.moveaxis(task.scene.anchors(shifts), 0, -1))
    states, times = np.zeros((count, STATE_SIZE)), np.empty(count)
    states[:, 6] = 1.0
    pending, tried = np.arange(count), 0
    while len(pending) and tried < LARGEST_TRIES:
        tries = min(max(CANDIDATES // len(pending), 1), CANDIDATES_EACH)
        moment, position, velocity = _candidates(task, rng, (len(pending), tries), time)
        clear = keeps_clear(position, velocity, centers[:, :, pending], task.radii)
        found, first = clear.any(axis=1), clear.argmax(axis=1)
        row, taken = np.flatnonzero(found), first[found]
        states[pending[row], :3] = position[:, row, taken].T
        states[pending[row], 3:6] = velocity[:, row, taken].T
        times[pending[row]] = moment[row, taken]
        pending, tried = pending[~found], tried + tries
    if len(pending):
        raise ValueError(
            f"no start clear of the obstacles in {tried} draws at time {time} [s] (None: any); "
            "pass another time, other offsets, or the state itself in the options of reset"
        )
    return Starts(states, times, shifts)


def _candidates(
    task: FlightTask, rng: np.random.Generator, shape: tuple[int, int], time: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times (n, tries), positions and velocities (3, n, tries) around the reference."""
    moment = task.reference.period * rng.random(shape) if time is None else np.full(shape, time)
    angle = task.reference.rate * moment
    x, y, vx, vy = task.reference.planar(np.cos(angle), np.sin(angle))
    noise = rng.standard_normal((6, *shape))
    position, velocity = POSITION_STD * noise[:3], VELOCITY_STD * noise[3:]
    for total, part in zip(
        (*position, *velocity[:2]), (x, y, task.reference.height, vx, vy), strict=True
    ):
        total += part
    return moment, position, velocity


def given_starts(task: FlightTask, given: Any, count: int) -> Starts:
    """Return starts that the user passed: `count` states, or a dict with states and more.

    Args:
        task: the obstacles.
        given: (count, 13), or a dict with "state" (count, 13) and optionally "time" (count,) and
            "offsets" (count, stacks, 2), zero by default.
        count: number of episodes.

    Raises:
        ValueError: if an array has another shape, is not finite, or a quaternion is zero.
    """
    parts = given if isinstance(given, dict) else {"state": given}
    states = checked_array("state", parts.get("state"), (count, STATE_SIZE))
    times = checked_array("time", parts.get("time", np.zeros(count)), (count,))
    shape = (count, len(task.scene.stacks), 2)
    offsets = checked_array("offsets", parts.get("offsets", np.zeros(shape)), shape)
    norms = np.sqrt((states[:, 6:10] ** 2).sum(axis=1))
    if not (norms > 0.0).all():
        raise ValueError(
            "a state's quaternion, entries 6 to 9, is zero; pass (1, 0, 0, 0) for level"
        )
    states[:, 6:10] /= norms[:, None]
    return Starts(states, times, offsets)
