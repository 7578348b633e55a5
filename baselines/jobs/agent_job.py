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
    episodic_config,
    episodic_fields,
)
from baselines.jobs.first_step import check_first_step
from baselines.jobs.job import Category, Effort, JobRefused, Player, RunRecord, SectionName
from baselines.jobs.run_folder import read_outcome
from baselines.names.environments import EnvironmentName
from baselines.names.own_agents import (
    agent_code,
    agent_code_in,
    code_config,
    own_class,
    plain_name,
)
from baselines.names.own_code import OwnCode
from safe_envs.contract.cost_signal import CostSignalError

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback  # PyTorch

    from agents import ConstrainedAgent

FILES = ("progress.csv", "model.zip")  # of every finished training
OTHER_FILES = ("policy.onnx", "tensorboard", "diagnostics")
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
    code: OwnCode | None = None  # of a class of one's own

    section: ClassVar[SectionName] = "episodes"
    category: ClassVar[Category] = "deep agent"

    @classmethod
    def check(cls, env: EnvironmentName, agent: str, settings: dict[str, Any]) -> None:
        """Raise ValueError if the environment's first step fails; `run` checks the settings."""
        check_first_step(env, settings.get("cost_limit"))

    @classmethod
    def planned(
        cls, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> AgentJob:
        """Return the job of an agent with all of its hyperparameters."""
        steps, episodes = effort.total_timesteps, effort.evaluation_episodes
        code = agent_code(agent)
        return cls(env, plain_name(agent), seed, steps, settings, episodes, code)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AgentJob:
        """Return the job of a config.json."""
        return cls(
            agent=config["agent"],
            total_timesteps=config["total_timesteps"],
            code=agent_code_in(config),
            **episodic_fields(config),
        )

    @property
    def record(self) -> RunRecord:
        """What identifies its folder."""
        config = {**episodic_config(self), **code_config(self.code, "deep agent")}
        return RunRecord(config, FILES, OTHER_FILES, OBSOLETE_FILES)

    def agent_class(self) -> type[ConstrainedAgent]:
        """Return the class of the agent.

        Raises:
            OwnCodeError: if it cannot be imported, or has changed since the job was planned.
        """
        import agents  # PyTorch

        found: type[ConstrainedAgent]
        found = getattr(agents, self.agent) if self.code is None else own_class(self.code)
        return found

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
