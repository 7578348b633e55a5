"""The training of a deep agent: what determines it, and the files it leaves.

How it is done is in `baselines.jobs.training`, which imports PyTorch and is therefore imported
only when an agent trains or plays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from baselines.jobs.episodic_job import (
    EVALUATION_EPISODES,
    EpisodicOutcome,
    EpisodicResult,
    Evaluation,
    environment_in,
    episodic_config,
    settings_in,
)
from baselines.jobs.job import Effort, JobRefused, Player, RunRecord, SectionName
from baselines.jobs.run_folder import read_outcome
from baselines.names.environments import EnvironmentName
from safe_envs.contract.cost_signal import CostSignalError

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback  # PyTorch

FILES = ("progress.csv", "model.zip")  # of every finished training
OTHER_FILES = ("policy.onnx", "tensorboard")
OBSOLETE_FILES = ("normalization.npz",)  # the statistics of the observations, now in model.zip


@dataclass(frozen=True)
class AgentJob:
    """Everything that determines the result of a training."""

    env: EnvironmentName
    agent: str
    seed: int
    total_timesteps: int
    hyperparameters: dict[str, Any]
    evaluation_episodes: int = EVALUATION_EPISODES

    section: ClassVar[SectionName] = "episodes"

    @classmethod
    def check(cls, env: EnvironmentName, agent: str, settings: dict[str, Any]) -> None:
        """Accept any environment: `run` makes the agent, which checks its settings."""

    @classmethod
    def planned(
        cls, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> AgentJob:
        """Return the job of an agent with all of its hyperparameters."""
        steps, episodes = effort.total_timesteps, effort.evaluation_episodes
        return cls(env, agent, seed, steps, settings, episodes)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AgentJob:
        """Return the job of a config.json."""
        return cls(
            env=environment_in(config),
            agent=config["agent"],
            seed=config["seed"],
            total_timesteps=config["total_timesteps"],
            hyperparameters=settings_in(config),
            evaluation_episodes=config["evaluation_episodes"],
        )

    @property
    def record(self) -> RunRecord:
        """What identifies its folder."""
        return RunRecord(episodic_config(self), FILES, OTHER_FILES, OBSOLETE_FILES)

    def run(self, folder: Path, command: str, callback: BaseCallback | None = None) -> None:
        """Train, evaluate and export, as `Job.run` says."""
        from baselines.jobs.training import finish_training, prepare_training

        try:
            prepared = prepare_training(self)
        except (TypeError, ValueError, CostSignalError) as error:
            raise JobRefused(f"{self.agent} on {self.env}: {error}") from error
        finish_training(prepared, folder, command, callback)

    def evaluate(self, folder: Path, episodes: int, seed: int) -> Evaluation:
        """Return statistics of fresh episodes of a finished run's final policy."""
        from baselines.jobs.training import evaluate_saved

        return evaluate_saved(self, folder, episodes, seed)

    def outcome(self, folder: Path) -> EpisodicOutcome:
        """Return the result in the folder, or why there is none."""
        return read_outcome(folder, self, EpisodicResult.from_json)

    def player(self, folder: Path, seed: int) -> Player:
        """Return the trained agent, as `Job.player` says."""
        from baselines.jobs.training import load_player

        return load_player(self, folder)
