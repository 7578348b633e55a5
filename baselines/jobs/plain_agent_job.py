"""The training of a class with the face of Stable-Baselines3, which knows no constraints.

It is trained as its own library does, evaluated with costs like all others, and compared. Its file
is read by its own code, so it is only loaded again with consent.
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
    episodic_config,
    episodic_fields,
)
from baselines.jobs.first_step import check_first_step
from baselines.jobs.job import Category, Effort, JobRefused, Player, RunRecord, SectionName
from baselines.jobs.run_folder import read_outcome
from baselines.names.environments import EnvironmentName
from baselines.names.own_agents import agent_code, code_config, own_class
from baselines.names.own_code import OwnCode, own_code_in

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback  # PyTorch

FILES = ("progress.csv", "model.zip")  # of every finished training
OTHER_FILES = ("policy.onnx", "tensorboard", "diagnostics")


@dataclass(frozen=True)
class PlainAgentJob:
    """Everything that determines the result of a training."""

    env: EnvironmentName
    code: OwnCode  # of the class
    seed: int
    total_timesteps: int
    hyperparameters: dict[str, Any]
    evaluation_episodes: int = EVALUATION_EPISODES

    section: ClassVar[SectionName] = "episodes"
    category: ClassVar[Category] = "deep agent"

    @classmethod
    def check(cls, env: EnvironmentName, agent: str, settings: dict[str, Any]) -> None:
        """Raise ValueError if the environment's first step fails; `run` checks the settings."""
        check_first_step(env, settings.get("cost_limit"))

    @classmethod
    def planned(
        cls, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> PlainAgentJob:
        """Return the job of an agent with all of its hyperparameters."""
        code = agent_code(agent)
        assert code is not None, "named agents are of other kinds"
        steps, episodes = effort.total_timesteps, effort.evaluation_episodes
        return cls(env, code, seed, steps, settings, episodes)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PlainAgentJob:
        """Return the job of a config.json."""
        return cls(
            code=own_code_in(config["agent_code"]),
            total_timesteps=config["total_timesteps"],
            **episodic_fields(config),
        )

    @property
    def agent(self) -> str:
        """Name of the agent."""
        return self.code.label

    @property
    def record(self) -> RunRecord:
        """What identifies its folder."""
        config = {**episodic_config(self), **code_config(self.code, "plain agent")}
        return RunRecord(config, FILES, OTHER_FILES)

    def agent_class(self) -> Any:
        """Return the class of the agent.

        Raises:
            OwnCodeError: if it cannot be imported, or has changed since the job was planned.
        """
        return own_class(self.code)

    def run(self, folder: Path, command: str, callback: BaseCallback | None = None) -> None:
        """Train, evaluate and export, as `Job.run` says."""
        from baselines.jobs.plain_training import finish_training, prepare_training

        try:
            prepared = prepare_training(self)
        except Exception as error:  # of the class, which may raise anything
            raise JobRefused(f"{self.agent} on {self.env}: {error}") from error
        finish_training(prepared, folder, command, callback)

    def evaluate(self, folder: Path, episodes: int, seed: int) -> Evaluation:
        """Return statistics of fresh episodes; loading the agent runs its own code."""
        from baselines.jobs.plain_training import evaluate_saved

        return evaluate_saved(self, folder, episodes, seed)

    def outcome(self, folder: Path) -> EpisodicOutcome:
        """Return the result in the folder, or why there is none."""
        return read_outcome(folder, self, EpisodicResult.from_json)

    def player(self, folder: Path, seed: int) -> Player:
        """Return the trained agent; loading it runs its own code."""
        from baselines.jobs.plain_training import load_player

        return load_player(self, folder)
