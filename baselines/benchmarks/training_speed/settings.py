"""What all learners run, and the CPU time they spend on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class TrainingSetting(NamedTuple):
    """How much a learner trains."""

    robot: str  # of a velocity task
    steps: int  # samples per update
    passes: int
    batch_size: int
    num_envs: int = 8
    updates: int = 4

    @property
    def env_id(self) -> str:
        """The velocity task, with a cost."""
        return f"Safety{self.robot}Velocity-v1"

    @property
    def costless_id(self) -> str:
        """Gymnasium's task of the same robot."""
        return f"{self.robot}-v5"

    @property
    def minibatches_per_step(self) -> float:
        """Gradient steps per environment step; a short last minibatch counts by its rows."""
        return self.passes / self.batch_size

    def shortened(self) -> TrainingSetting:
        """Return one update of a single pass, for first calls, which are not to be counted."""
        return self._replace(steps=4 * self.batch_size, passes=1, updates=1)

    def __str__(self) -> str:
        """Return the robot and the numbers, as the tables show them."""
        return (
            f"{self.robot}, {self.steps:,} samples, {self.passes} passes, batch {self.batch_size}, "
            f"{self.num_envs} environments"
        )


class Spent(NamedTuple):
    """CPU seconds of a training."""

    stepping: float  # 0 if it is not measured by itself
    inference: float  # of the rollouts; with the stepping, if that is not measured
    update: float
    steps: int  # of all environments together

    @property
    def rollout(self) -> float:
        """CPU seconds of everything but the updates."""
        return self.stepping + self.inference

    @property
    def total(self) -> float:
        """All CPU seconds."""
        return self.rollout + self.update

    def per_step(self, seconds: float) -> float:
        """Return seconds of all steps as microseconds of one."""
        return seconds / self.steps * 1e6


def fastest(runs: Sequence[Spent]) -> Spent:
    """Return the run with the least CPU time."""
    return min(runs, key=lambda run: run.total)
