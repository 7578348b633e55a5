"""Two ways of simulating many rows with several threads, equal bit for bit.

A row's result depends only on that row, so neither on the simulator nor on the number of threads.
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.physics import RobotPhysics


class Simulator(Protocol):
    """Advances rows, one environment step each."""

    def advance(self, rows: np.ndarray, actions: np.ndarray, reached: np.ndarray) -> None:
        """Write the rows reached from `rows` (n, width) under `actions` (n, nu)."""
        ...

    def close(self) -> None:
        """End the threads."""
        ...


class BatchSimulator:
    """MuJoCo's own batch of simulations, whose threads never wait for Python's lock.

    Args:
        physics: the robot; its rows must not hold forces.
        num_threads: threads that simulate, including the caller's.
    """

    def __init__(self, physics: RobotPhysics, num_threads: int) -> None:
        self._physics = physics
        self._num_threads = num_threads
        self._batch: Any = None
        self._controls = np.empty((0, 0))  # of the batch, (n, nu)
        self._places: np.ndarray | None = None  # of the torsos, (n, 2) [m]; None if in the state

    def advance(self, rows: np.ndarray, actions: np.ndarray, reached: np.ndarray) -> None:
        """Write the rows reached from `rows`."""
        if self._batch is None or len(self._controls) != len(rows):
            self._make_batch(len(rows))
        physics, batch = self._physics, self._batch
        batch.state[:] = rows[:, physics.state_columns]
        self._controls[...] = actions
        batch.step(nstep=physics.robot.frame_skip)
        reached[:, physics.state_columns] = batch.state
        if self._places is not None:
            reached[:, physics.place_columns] = self._places
        physics.write_velocity(rows, reached)

    def close(self) -> None:
        """End the threads."""
        self._batch = None

    def _make_batch(self, size: int) -> None:
        from mujoco.batch import Batch

        self._batch = Batch(self._physics.model, size, self._num_threads)
        self._controls = self._batch.bind("ctrl")
        if self._physics.robot.position == "torso":
            self._places = self._batch.bind("xpos")[:, self._physics.body, :2]


class ThreadSimulator:
    """Python threads, each with a part of the rows; `mj_step` releases Python's global lock.

    Args:
        physics: the robot.
        num_threads: threads that simulate, including the caller's.
    """

    def __init__(self, physics: RobotPhysics, num_threads: int) -> None:
        self._physics = physics
        self._scratch = [physics.new_data() for _ in range(num_threads)]
        self._pool = ThreadPoolExecutor(num_threads - 1) if num_threads > 1 else None

    def advance(self, rows: np.ndarray, actions: np.ndarray, reached: np.ndarray) -> None:
        """Write the rows reached from `rows`; each thread simulates a block of adjacent rows."""
        load, advance, threads = self._physics.load, self._physics.advance, len(self._scratch)

        def advance_stretch(thread: int) -> None:
            data = self._scratch[thread]
            for i in range(len(rows) * thread // threads, len(rows) * (thread + 1) // threads):
                load(data, rows[i])
                advance(data, rows[i], actions[i], reached[i])

        if self._pool is None:
            advance_stretch(0)
            return
        others = [self._pool.submit(advance_stretch, thread) for thread in range(1, threads)]
        advance_stretch(0)
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def fastest_simulator(physics: RobotPhysics, num_threads: int) -> Simulator:
    """Return MuJoCo's own batch if it exists (from version 4) and provides all that is needed."""
    load_mujoco()
    if physics.needs_forces or importlib.util.find_spec("mujoco.batch") is None:
        return ThreadSimulator(physics, num_threads)
    return BatchSimulator(physics, num_threads)
