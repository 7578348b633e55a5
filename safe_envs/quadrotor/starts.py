"""First states of episodes: near the reference, and not on a collision course."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from safe_envs.contract.argument_checks import checked_array
from safe_envs.quadrotor.dynamics import STATE_SIZE
from safe_envs.quadrotor.scene import Scene
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
    offsets: np.ndarray  # (count, groups, 2 or 3) shifts of the obstacles [m]


def keeps_clear(
    position: np.ndarray,
    velocity: np.ndarray,
    centers: np.ndarray,
    radii: np.ndarray,
    motion: np.ndarray | None = None,
) -> np.ndarray:
    """Return whether a flight could still avoid all spheres, (n, tries).

    With h = |p - c|^2 - (r + 0.03)^2 for every sphere, h > 0.05 and both
    h' + 4 h > 0 and h'' + 8 h' + 16 h > 0, where the vehicle's acceleration in h'' is zero.

    Args:
        position: (3, n, tries) [m].
        velocity: (3, n, tries) [m/s].
        centers: (obstacles, 3, n), or, of spheres that move, (obstacles, 3, n, tries) [m].
        radii: (obstacles,) [m].
        motion: the spheres' velocities, accelerations and jerks, (3, obstacles, 3, n, tries);
            None at rest.
    """
    places = centers[..., None] if centers.ndim == 3 else centers
    x, y, z = (position[i] - places[:, i] for i in range(3))  # (obstacles, n, tries)
    u, v, w = velocity
    if motion is not None:
        u, v, w = (velocity[i] - motion[0, :, i] for i in range(3))
    barrier = x * x + y * y + z * z - ((radii + CLEARANCE) ** 2)[:, None, None]
    rate = 2.0 * (x * u + y * v + z * w)
    curvature = 2.0 * (u * u + v * v + w * w)
    if motion is not None:
        fleeing = motion[1]  # accelerations
        curvature -= 2.0 * (x * fleeing[:, 0] + y * fleeing[:, 1] + z * fleeing[:, 2])
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
        offsets: of the obstacles, (count, groups, axes) [m]; None to draw them.

    Raises:
        ValueError: if no clear start was found in 2000 draws.
    """
    shifts = task.scene.draw_offsets(rng, count) if offsets is None else np.array(offsets)
    shifts = np.broadcast_to(shifts, task.scene.offsets_shape(count))
    anchors = np.moveaxis(task.scene.anchors(shifts), 0, -1)
    places = _Places(task.scene, anchors)
    states, times = np.zeros((count, STATE_SIZE)), np.empty(count)
    states[:, 6] = 1.0
    pending, tried = np.arange(count), 0
    while len(pending) and tried < LARGEST_TRIES:
        tries = min(max(CANDIDATES // len(pending), 1), CANDIDATES_EACH)
        moment, position, velocity = _candidates(task, rng, (len(pending), tries), time)
        centers, motion = places.at(pending, moment)
        clear = keeps_clear(position, velocity, centers, task.radii, motion)
        found, first = clear.any(axis=1), clear.argmax(axis=1)
        row, taken = np.flatnonzero(found), first[found]
        states[pending[row], :3] = position[:, row, taken].T
        states[pending[row], 3:6] = velocity[:, row, taken].T
        times[pending[row]] = moment[row, taken]
        pending, tried = pending[~found], tried + tries
    if len(pending):
        raise ValueError(
            f"no start clear of the obstacles in {tried} draws at time {time} [s] (None: any); "
            "pass another time, other offsets, or the state itself in the options of reset, or "
            "obstacles that leave part of the reference free"
        )
    return Starts(states, times, shifts)


class _Places:
    """Where the spheres of `count` episodes are, and how they move."""

    def __init__(self, scene: Scene, anchors: np.ndarray) -> None:
        self._scene = scene
        self._anchors = anchors
        self._resting = None if len(scene.moving) else scene.center_rows(anchors, ())

    def at(self, episodes: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the arguments `centers` and `motion` of `keeps_clear`.

        Args:
            episodes: indices of the episodes, (n,).
            times: on the reference, (n, tries) [s].
        """
        if self._resting is not None:
            return self._resting[:, :, episodes], None
        tries, moments = times.shape[1], times.ravel().tolist()
        anchors = np.repeat(self._anchors[:, :, episodes], tries, axis=2)
        centers = self._scene.center_rows(anchors, moments)
        motion = self._scene.motion_rows(moments)
        return centers.reshape(-1, 3, *times.shape), motion.reshape(3, -1, 3, *times.shape)


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
            "offsets" (count, groups, axes), zero by default.
        count: number of episodes.

    Raises:
        ValueError: if an array has another shape, is not finite, or a quaternion is zero.
    """
    parts = given if isinstance(given, dict) else {"state": given}
    states = checked_array("state", parts.get("state"), (count, STATE_SIZE))
    times = checked_array("time", parts.get("time", np.zeros(count)), (count,))
    shape = task.scene.offsets_shape(count)
    offsets = checked_array("offsets", parts.get("offsets", np.zeros(shape)), shape)
    norms = np.sqrt((states[:, 6:10] ** 2).sum(axis=1))
    if not (norms > 0.0).all():
        raise ValueError(
            "a state's quaternion, entries 6 to 9, is zero; pass (1, 0, 0, 0) for level"
        )
    states[:, 6:10] /= norms[:, None]
    return Starts(states, times, offsets)
