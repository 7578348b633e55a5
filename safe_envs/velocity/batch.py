"""The velocity tasks for many robots at once, in NumPy operations over all rows."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.cost_signal import CostLimits, declare_constraints
from safe_envs.contract.dynamics import BatchStep
from safe_envs.contract.thread_count import usual_num_threads
from safe_envs.velocity.camera import FrameView, TrackingCamera
from safe_envs.velocity.physics import RobotPhysics
from safe_envs.velocity.scalar import ScalarVelocity
from safe_envs.velocity.simulators import Simulator, fastest_simulator

COST_LIMIT = 25.0  # the limit that Safety-Gymnasium's baselines are trained with


class VelocityBatch:
    """The velocity task for many robots at a time; states are rows, (n, physics.width).

    Args:
        physics: the robot.
        view: what frames show.
        cost_limits: limit of the episode's cost; None for 25.
        num_threads: threads that simulate, including the caller's.
    """

    def __init__(
        self,
        physics: RobotPhysics,
        view: FrameView,
        cost_limits: CostLimits = None,
        num_threads: int = 1,
    ) -> None:
        self.constraints = declare_constraints({"velocity": COST_LIMIT}, 1.0, cost_limits)
        self.reward_discount = 1.0
        self.cost_high = np.ones(1)
        self.single_observation_space: gym.Space
        self.single_action_space: gym.Space
        self.single_observation_space, self.single_action_space = physics.spaces()
        self.render_fps = max(1, round(1.0 / physics.dt))
        self.physics = physics
        self._limits = [constraint.limit for constraint in self.constraints]
        self.num_threads = num_threads
        self._around = physics.standing()
        self._camera = TrackingCamera(physics, view)

    @cached_property
    def _scratch(self) -> Any:
        """Simulation data for starts; a single environment, which has its own, never asks."""
        return self.physics.new_data()

    @cached_property
    def _simulator(self) -> Simulator:
        """The threads, started by the first step."""
        return fastest_simulator(self.physics, self.num_threads)

    @cached_property
    def _alone(self) -> ScalarVelocity:
        """The task for a batch of one row."""
        return ScalarVelocity(self.physics, self._camera.view)

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw first states around the robot's standing pose."""
        starts = [self.physics.draw_start(rng, self._around) for _ in range(count)]
        return self._started(np.stack(starts))

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return the rows of `count` states (qpos, qvel) given by the user."""
        return self._started(self.physics.checked_starts(states, (count,)))

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw nothing, (n, 0): a step is deterministic."""
        return np.empty((count, 0))

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Advance all rows by one environment step."""
        if len(states) == 1:
            return self._step_alone(states[0], actions[0])
        reached = np.empty_like(states)
        self._simulator.advance(states, actions, reached)
        outcome = self.physics.outcome(actions, reached)
        excess = self.physics.excess(reached)
        costs = (excess > 0.0).astype(np.float64)
        details = self.physics.details(reached, outcome, _lengths)
        return BatchStep(reached, outcome.reward, costs, outcome.terminated, excess, details)

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return the observations."""
        return self.physics.observe(states)

    def margins(self, states: np.ndarray) -> np.ndarray:
        """Return velocity - threshold, (n, 1) [m/s]."""
        return self.physics.excess(states)

    def start_details(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Return Gymnasium's own entries of the infos, whose rewards are zero."""
        return self.physics.start_details(states, _lengths)

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the picture of one row."""
        return self._camera.draw(state)

    def close(self) -> None:
        """End the threads and free the camera."""
        if "_simulator" in vars(self):
            self._simulator.close()
        self._camera.close()

    def with_threads(self, num_threads: int) -> VelocityBatch:
        """Return the same task, simulated by this many threads."""
        return VelocityBatch(self.physics, self._camera.view, self._limits, num_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return VelocityBatch, (self.physics, self._camera.view, self._limits, self.num_threads)

    def _step_alone(self, state: np.ndarray, action: np.ndarray) -> BatchStep:
        """Advance a batch of one row, in NumPy scalars, which are faster than small arrays."""
        step = self._alone.step(state, action)
        reached, _, reward, cost, terminated, _, excess, details = step
        assert excess is not None
        assert details is not None
        return BatchStep(
            reached[None],
            np.array((reward,)),
            np.array(((cost,),)),
            np.array((terminated,)),
            excess[None],
            {name: np.array((value,)) for name, value in details.items()},
        )

    def _started(self, starts: np.ndarray) -> np.ndarray:
        rows = np.empty((len(starts), self.physics.width))
        for start, row in zip(starts, rows, strict=True):
            self.physics.start(self._scratch, start, row)
        return rows


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the norms (n,) of vectors (n, 2); dot products round as those of single vectors."""
    return np.sqrt(np.matmul(vectors[:, None, :], vectors[:, :, None])[:, 0, 0])


def checked_thread_count(num_threads: int | None, num_envs: int) -> int:
    """Return the number of threads; by default `usual_num_threads`, and never more than rows.

    Raises:
        ValueError: if it is not a whole number >= 1.
    """
    if num_threads is None:
        num_threads = usual_num_threads()
    if not isinstance(num_threads, int) or num_threads < 1:
        raise ValueError(
            f"num_threads is {num_threads!r}; pass a whole number >= 1, or None for one per "
            "processor"
        )
    return max(1, min(num_threads, num_envs))
