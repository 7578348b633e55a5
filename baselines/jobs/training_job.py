"""One run of a deep agent or a controller: what decides it, and what it measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from baselines.jobs.job import Outcome, common_config, job_folder
from baselines.measures.episode_statistics import EpisodeStatistics
from baselines.names.environments import EnvironmentName

EVALUATION_SEED = 12345
EVALUATION_EPISODES = 50
TRAINING_FILES = ("progress.csv", "model.zip")  # of every finished training
LARGEST_SEED = 2**31 - 1  # evaluations draw from seeds above 2**32, training from below


@dataclass(frozen=True)
class TrainingJob:
    """Everything that decides the result of a training run, or of a controller without training."""

    env: EnvironmentName
    agent: str
    seed: int
    total_timesteps: int  # 0 for a controller
    hyperparameters: dict[str, Any]
    evaluation_episodes: int = EVALUATION_EPISODES

    other_files: ClassVar[tuple[str, ...]] = (
        *TRAINING_FILES, "normalization.npz", "policy.onnx", "tensorboard",
    )  # fmt: skip

    @property
    def trains(self) -> bool:
        """Whether there is a training; a controller has none."""
        return self.total_timesteps > 0

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that a finished run has beside config.json and result.json."""
        return TRAINING_FILES if self.trains else ()

    def folder(self, out: Path) -> Path:
        """Return the folder of this run's files within the folder of a comparison."""
        return job_folder(out, self.env, self.agent, self.seed)

    def config(self) -> dict[str, Any]:
        """Return the job as JSON data; equal configurations give equal results."""
        return {
            **common_config(self),
            "total_timesteps": self.total_timesteps,
            "evaluation_episodes": self.evaluation_episodes,
            "hyperparameters": plain_settings(self.hyperparameters),
        }


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training run measured, as it stands in result.json."""

    agent: str
    env: str
    seed: int
    timesteps: int  # taken; total_timesteps rounded up to whole rollouts, 0 without training
    constraint_names: list[str]  # (m,)
    limits: list[float]  # (m,)
    cost_discounts: list[float]  # (m,)
    reward_discount: float
    stochastic: EpisodeStatistics  # of the final policy as it was trained
    deterministic: EpisodeStatistics  # of its most likely actions
    final_constraint_log: dict[str, float]  # multipliers, weights and penalty of the last update
    cpu_seconds: float  # of training alone
    wall_seconds: float
    steps_per_cpu_second: float
    policy_onnx: str | None  # name of the file
    policy_onnx_refused: str  # why there is none
    hyperparameters: dict[str, Any]
    warnings: list[str]
    versions: dict[str, str]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TrainingResult:
        """Return the result that `dataclasses.asdict` turned into JSON."""
        modes = {
            mode: EpisodeStatistics.from_json(data[mode])
            for mode in ("stochastic", "deterministic")
        }
        return cls(**{**data, **modes})


TrainingOutcome = Outcome[TrainingJob, TrainingResult]


def plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON data, which has no infinite numbers: they become "inf"."""
    return {k: str(v) if isinstance(v, float) and math.isinf(v) else v for k, v in settings.items()}


def training_job_from(config: dict[str, Any]) -> TrainingJob:
    """Return the job of a config.json."""
    env = config["env"]
    name = EnvironmentName(env["id"], tuple(sorted(env["kwargs"].items())))
    settings = {k: float(v) if v == "inf" else v for k, v in config["hyperparameters"].items()}
    own = ("agent", "seed", "total_timesteps", "evaluation_episodes")
    return TrainingJob(env=name, hyperparameters=settings, **{key: config[key] for key in own})
