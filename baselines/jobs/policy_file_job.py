"""The episodes of a finished policy in an ONNX file, which another library may have written."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from baselines.atomic_files import write_atomically
from baselines.jobs.episodic_job import (
    EVALUATION_EPISODES,
    EpisodicOutcome,
    EpisodicResult,
    Evaluation,
    episodic_config,
    episodic_fields,
    episodic_result,
    evaluation_seed,
)
from baselines.jobs.first_step import check_first_step
from baselines.jobs.job import Category, Effort, JobRefused, Player, RunRecord, SectionName
from baselines.jobs.run_folder import open_run, read_outcome, versions
from baselines.jobs.stored_result import file_digest, write_result
from baselines.measures.episode_statistics import EpisodeStatistics, summarize_episodes
from baselines.names.environments import EnvironmentName
from baselines.names.policy_files import policy_label, policy_path

if TYPE_CHECKING:  # PyTorch
    from stable_baselines3.common.callbacks import BaseCallback

    from agents.training_env import Contract
    from baselines.policy_export.onnx_policy import OnnxPolicy

PACKAGES = ("safe-envs", "gymnasium", "numpy", "onnx", "onnxruntime", "mujoco")
FILES = ("policy.onnx",)  # of every finished run: a copy


@dataclass(frozen=True)
class PolicyFileJob:
    """Everything that determines the episodes of a policy file."""

    env: EnvironmentName
    agent: str  # name of the file or of its folder
    sha256: str  # of the file's content
    seed: int  # of a training seed's own file in a folder
    hyperparameters: dict[str, Any]
    evaluation_episodes: int = EVALUATION_EPISODES
    path: Path | None = None  # of the file; a finished run has its own copy

    section: ClassVar[SectionName] = "episodes"
    category: ClassVar[Category] = "finished policy"
    total_timesteps: ClassVar[int] = 0

    @classmethod
    def check(cls, env: EnvironmentName, agent: str, settings: dict[str, Any]) -> None:
        """Raise ValueError if the environment's first step fails."""
        check_first_step(env, settings.get("cost_limit"))

    @classmethod
    def planned(
        cls, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> PolicyFileJob:
        """Return the job of a policy file.

        Raises:
            ValueError: if there is none for the seed, or it does not fit the environment.
        """
        path = policy_path(agent, seed)
        digest = file_digest(path)
        episodes = effort.evaluation_episodes
        job = cls(env, policy_label(agent), digest, seed, settings, episodes, path)
        job.policy(path, 0)
        return job

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PolicyFileJob:
        """Return the job of a config.json."""
        return cls(
            agent=config["agent"],
            sha256=config["agent_code"]["sha256"],
            **episodic_fields(config),
        )

    @property
    def record(self) -> RunRecord:
        """What identifies its folder."""
        file = {"kind": "policy file", "sha256": self.sha256}
        return RunRecord({**episodic_config(self), "agent_code": file}, FILES)

    def policy(self, path: Path, seed: int) -> OnnxPolicy:
        """Return the policy.

        Args:
            path: of the file.
            seed: of its draws.

        Raises:
            ValueError: if the file is gone, has changed, or does not fit the environment.
        """
        from baselines.policy_export.onnx_policy import OnnxPolicy

        content = self._content(path)
        env = self.env.make()
        try:
            return OnnxPolicy(content, env.observation_space, env.action_space, seed)
        except ValueError as error:
            raise ValueError(f"{path} on {self.env}: {error}") from error
        finally:
            env.close()

    def run(self, folder: Path, command: str, callback: BaseCallback | None = None) -> None:
        """Play the episodes and write the result, as `Job.run` says."""
        from baselines.jobs.settings import contract_in_force  # PyTorch

        assert self.path is not None, "only finished runs are read without it"
        try:
            content = self._content(self.path)
            contract = contract_in_force(self.env, self.hyperparameters["cost_limit"])
        except ValueError as error:
            raise JobRefused(str(error)) from error
        open_run(folder, self, {"command": command, "versions": versions(PACKAGES)})
        write_atomically(folder / "policy.onnx", content)
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            seed = evaluation_seed(self.seed)
            evaluation = self.evaluate(folder, self.evaluation_episodes, seed)
        messages = [f"{item.category.__name__}: {item.message}" for item in caught]
        installed = versions(PACKAGES)
        result = episodic_result(self, contract, evaluation, "", messages, installed)
        write_result(folder, result, FILES)

    def evaluate(self, folder: Path, episodes: int, seed: int) -> Evaluation:
        """Return statistics of fresh episodes, the same ones that agents play."""
        return Evaluation(
            stochastic=self._played(folder, episodes, seed, deterministic=False),
            deterministic=self._played(folder, episodes, seed, deterministic=True),
        )

    def outcome(self, folder: Path) -> EpisodicOutcome:
        """Return the result in the folder, or why there is none."""
        return read_outcome(folder, self, EpisodicResult.from_json)

    def player(self, folder: Path, seed: int) -> Player:
        """Return the policy, as `Job.player` says; ONNX Runtime computes its actions."""
        return Player(*self._playing(folder, seed))

    def _playing(self, folder: Path, seed: int) -> tuple[OnnxPolicy, Contract]:
        from baselines.jobs.settings import contract_in_force  # PyTorch

        draws = int(np.random.SeedSequence((self.seed, seed)).generate_state(1)[0])
        policy = self.policy(folder / "policy.onnx", draws)
        return policy, contract_in_force(self.env, self.hyperparameters["cost_limit"])

    def _content(self, path: Path) -> bytes:
        if not path.is_file():
            raise ValueError(f"there is no file {path} any more; it is the run's policy")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError(
                f"{path} has changed since this job was planned or run; start the command again, "
                "which then counts as another job"
            )
        return content

    def _played(
        self, folder: Path, episodes: int, seed: int, deterministic: bool
    ) -> EpisodeStatistics:
        from agents.evaluation import MOST_COPIES  # these import PyTorch
        from baselines.jobs.settings import make_training_env
        from baselines.measures.episode_sampling import sample_episodes
        from baselines.measures.plain_policy_values import exact_values_by
        from baselines.policy_export.onnx_policy import PolicyFileError

        policy, contract = self._playing(folder, seed)
        venv = make_training_env(self.env, min(episodes, MOST_COPIES))
        try:
            drawn = sample_episodes(policy, venv, contract, episodes, seed, deterministic)
            chosen = partial(policy.probabilities, deterministic=deterministic)
            exact = exact_values_by(chosen, self.env, contract)
        except PolicyFileError as error:  # at an observation that the first check did not try
            raise PolicyFileError(f"{self.agent} on {self.env}: {error}") from error
        finally:
            venv.close()
        return summarize_episodes(drawn, exact)
