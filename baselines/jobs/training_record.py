"""Writes the progress of a training that logs no costs itself, from the steps that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.episode_record import EpisodeRecord
from agents.rollout import checked_signals
from agents.training_env import Contract
from agents.training_log import TrainingLog
from baselines.measures.learning_curve import TIMESTEPS

ROWS = 100  # of progress.csv


class TrainingRecord:
    """Counts steps, checks their costs, and logs averages over recent episodes.

    Args:
        contract: the constraints and the discounts to sum with.
        total_timesteps: of the training.
    """

    def __init__(self, contract: Contract, total_timesteps: int) -> None:
        self.timesteps = 0
        self.logger: Logger | None = None  # None writes nothing
        self._contract = contract
        self._episodes = EpisodeRecord(contract.constraints, contract.reward_discount)
        self._every = max(total_timesteps // ROWS, 1)
        self._written = 0

    def add(
        self, rewards: np.ndarray, infos: Sequence[Mapping[str, Any]], dones: np.ndarray
    ) -> None:
        """Add one step of N environments.

        Args:
            rewards: (N,).
            infos: one per environment.
            dones: (N,) bool, whether the step was the last of its episode.

        Raises:
            CostSignalError: if a cost is missing, not finite, negative or of the wrong shape.
            NonFiniteEnvError: if a reward is not finite.
        """
        self.timesteps += len(rewards)
        where = f"step {self.timesteps // len(rewards)} of training"
        signals = checked_signals(rewards, infos, len(self._contract.constraints), where)
        self._episodes.add(signals, dones)
        if self.timesteps - self._written >= self._every:
            self.write()

    def write(self) -> None:
        """Log the averages of the episodes that ended recently."""
        constraints = self._contract.constraints
        if self.logger is None or self._written == self.timesteps:
            return
        self._written = self.timesteps
        TrainingLog(self.logger, [one.name for one in constraints]).episodes(self._episodes)
        self._episodes.measure(np.array([one.limit for one in constraints]))
        self.logger.record(TIMESTEPS, self.timesteps)
        self.logger.dump(self.timesteps)


class RecordedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """One environment whose steps are recorded."""

    def __init__(self, env: gym.Env, record: TrainingRecord) -> None:
        super().__init__(env)
        self._record = record

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        done = np.array([terminated or truncated])
        self._record.add(np.array([reward], dtype=np.float64), [info], done)
        return observation, reward, terminated, truncated, info


class RecordedVecEnv(VecEnvWrapper):
    """A VecEnv whose steps are recorded."""

    def __init__(self, venv: VecEnv, record: TrainingRecord) -> None:
        super().__init__(venv)
        self._record = record

    def reset(self) -> Any:
        """Start an episode in every environment."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Return the result of the step."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._record.add(np.asarray(rewards, dtype=np.float64), infos, dones)
        return observations, rewards, dones, infos
