"""The velocity tasks for many robots at once, in NumPy operations over all rows."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.cost_signal import ConstraintSpec
from safe_envs.contract.vector_env import BatchStep
from safe_envs.velocity.camera import TrackingCamera
from safe_envs.velocity.physics import RobotPhysics
from safe_envs.velocity.simulators import fastest_simulator


class VelocityBatch:
    """The batched dynamics, for `NativeVectorEnv`. States are rows, (n, physics.width).

    Args:
        physics: the robot.
        constraints: the declared constraint.
        num_threads: threads that simulate; the caller's is one of them.
    """

    def __init__(
        self, physics: RobotPhysics, constraints: tuple[ConstraintSpec, ...], num_threads: int
    ) -> None:
        self.constraints = constraints
        self.reward_discount = 1.0
        self.cost_high = np.ones(1)
        self.single_observation_space: gym.Space
        self.single_action_space: gym.Space
        self.single_observation_space, self.single_action_space = physics.spaces()
        self._physics = physics
        self._scratch = physics.new_data()
        self._simulator = fastest_simulator(physics, num_threads)
        self._camera = TrackingCamera(physics)

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw first states around the robot's standing pose."""
        return self._started(np.stack([self._physics.draw_start(rng) for _ in range(count)]))

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return the rows of `count` states (qpos, qvel) given by the user."""
        return self._started(self._physics.checked_starts(states, (count,)))

    def draws(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw nothing, (n, 0): a step is deterministic."""
        return np.empty((count, 0))

    def step(self, states: np.ndarray, actions: np.ndarray, draws: np.ndarray) -> BatchStep:
        """Advance all rows by one environment step."""
        reached = np.empty_like(states)
        self._simulator.advance(states, actions, reached)
        outcome = self._physics.settle(states, actions, reached)
        excess = self._physics.excess(reached)
        costs = (excess > 0.0).astype(np.float64)
        return BatchStep(reached, outcome.reward, costs, outcome.terminated, excess)

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return the observations."""
        return self._physics.observe(states)

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return velocity - threshold, (n, 1) [m/s]."""
        return self._physics.excess(states)

    def draw(self, state: np.ndarray) -> np.ndarray:
        """Return the frame of one row."""
        return self._camera.draw(state)

    def close(self) -> None:
        """End the threads and free the camera."""
        self._simulator.close()
        self._camera.close()

    def _started(self, starts: np.ndarray) -> np.ndarray:
        rows = np.empty((len(starts), self._physics.width))
        for start, row in zip(starts, rows, strict=True):
            self._physics.start(self._scratch, start, row)
        return rows


def checked_thread_count(num_threads: int | None, num_envs: int) -> int:
    """Return the number of threads; by default one per processor, and never more than rows.

    Raises:
        ValueError: if it is no whole number >= 1.
    """
    if num_threads is None:
        num_threads = os.cpu_count() or 1
    if not isinstance(num_threads, int) or num_threads < 1:
        raise ValueError(
            f"num_threads is {num_threads!r}; pass a whole number >= 1, or None for one per "
            "processor"
        )
    return max(1, min(num_threads, num_envs))
