"""What all jobs share whose policy is evaluated in sampled episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from baselines.jobs.job import Effort, Job, JobKind, Outcome, common_config
from baselines.jobs.stored_result import checked_result
from baselines.measures.episode_statistics import EpisodeStatistics, check_lengths
from baselines.names.environments import EnvironmentName, environment_in

if TYPE_CHECKING:
    from agents.training_env import Contract  # PyTorch

EVALUATION_EPISODES = 50
LARGEST_SEED = 2**31 - 1  # of a training; `baselines.measures.episode_sampling` has the others
FIRST_EVALUATION_SEED = 2**25  # smaller ones are for the command evaluate


class Evaluation(NamedTuple):
    """Fresh episodes of one policy in both modes."""

    stochastic: EpisodeStatistics  # as it was trained, or with a controller's noise
    deterministic: EpisodeStatistics  # of its most likely actions


class EpisodicJob(Job, Protocol):
    """A job whose final policy plays evaluation episodes."""

    @property
    def total_timesteps(self) -> int:
        """Steps of training; 0 if there is nothing to train."""

    @property
    def evaluation_episodes(self) -> int:
        """Episodes in each mode, at least one."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings of the agent."""

    def evaluate(self, folder: Path, episodes: int, seed: int) -> Evaluation:
        """Return statistics of fresh episodes of the policy of a finished run.

        Args:
            folder: of the run.
            episodes: in each mode, at least one.
            seed: of the evaluation; all runs get the same episodes from the same seed. A run's own
                is `evaluation_seed(job.seed)`.
        """

    def outcome(self, folder: Path) -> EpisodicOutcome:
        """Return the result in the folder, or why there is none."""


class TrainedJob(EpisodicJob, Protocol):
    """A job that trains an agent."""

    def agent_class(self) -> Any:
        """Return the class of the agent.

        Raises:
            OwnCodeError: if it cannot be imported, or has changed since the job was planned.
        """


class EpisodicKind(JobKind, Protocol):
    """How the runner makes the jobs of one kind of agent that plays episodes."""

    def planned(
        self, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> EpisodicJob:
        """Return the job of an agent with all of its hyperparameters."""

    def from_config(self, config: dict[str, Any]) -> EpisodicJob:
        """Return the job of a config.json."""


@dataclass(frozen=True)
class EpisodicResult:
    """What a finished run measured, as it stands in result.json."""

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
    # Steps at which the training was resumed with new episodes, because its environments cannot be
    # restored in the middle of one; everywhere else it went on bit for bit.
    restarted_at: list[int] = field(default_factory=list)
    update_backend: str = ""  # "numpy" or "torch" for an agent of this project
    uses_model: bool = False  # whether what acts was told the environment's equations

    def __post_init__(self) -> None:
        """Raise ValueError if the lists do not fit together."""
        m = len(self.constraint_names)
        check_lengths(m, "constraints", limits=self.limits, cost_discounts=self.cost_discounts)
        for mode, episodes in (
            ("stochastic", self.stochastic),
            ("deterministic", self.deterministic),
        ):
            check_lengths(m, "constraints", **{f"costs of {mode}": episodes.mean_costs})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EpisodicResult:
        """Return the result that `dataclasses.asdict` turned into JSON.

        Raises:
            ValueError: if the data is damaged.
        """
        return checked_result(cls, data)


EpisodicOutcome = Outcome[EpisodicJob, EpisodicResult]


class TrainingTotals(NamedTuple):
    """What a training took and left beside its policy; the default is none."""

    timesteps: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    constraint_log: Mapping[str, float] = MappingProxyType({})  # of the last update
    restarted_at: Sequence[int] = ()
    update_backend: str = ""  # "numpy" or "torch"


def episodic_result(
    job: EpisodicJob,
    contract: Contract,
    evaluation: Evaluation,
    policy_onnx_refused: str,
    warnings: Sequence[str],
    versions: dict[str, str],
    training: TrainingTotals = TrainingTotals(),  # noqa: B008  it never changes
    uses_model: bool = False,
) -> EpisodicResult:
    """Return what a job measured.

    Args:
        job: that is done.
        contract: the constraints and discounts that hold for its policy.
        evaluation: of the policy.
        policy_onnx_refused: why there is no policy.onnx, "" if there is one.
        warnings: each is kept once.
        versions: of the packages that affect the numbers.
        training: if there was one.
        uses_model: whether what acts was told the environment's equations.
    """
    return EpisodicResult(
        agent=job.agent,
        env=str(job.env),
        seed=job.seed,
        timesteps=training.timesteps,
        constraint_names=[constraint.name for constraint in contract.constraints],
        limits=[constraint.limit for constraint in contract.constraints],
        cost_discounts=[constraint.discount for constraint in contract.constraints],
        reward_discount=contract.reward_discount,
        stochastic=evaluation.stochastic,
        deterministic=evaluation.deterministic,
        final_constraint_log=dict(training.constraint_log),
        cpu_seconds=training.cpu_seconds,
        wall_seconds=training.wall_seconds,
        steps_per_cpu_second=training.timesteps / max(training.cpu_seconds, 1e-9),
        policy_onnx=None if policy_onnx_refused else "policy.onnx",
        policy_onnx_refused=policy_onnx_refused,
        hyperparameters=plain_settings(job.hyperparameters),
        warnings=list(dict.fromkeys(warnings)),
        versions=versions,
        restarted_at=list(training.restarted_at),
        update_backend=training.update_backend,
        uses_model=uses_model,
    )


def evaluation_seed(training_seed: int) -> int:
    """Return the seed of the evaluation of a run.

    Agents that train from the same seed are evaluated in the same episodes, which makes their
    differences more precise. Different training seeds share none: their means are independent, as
    the intervals over seeds require.
    """
    return FIRST_EVALUATION_SEED + training_seed


def episodic_config(job: EpisodicJob) -> dict[str, Any]:
    """Return the job as JSON data; equal configurations give equal results."""
    return {
        **common_config(job),
        "total_timesteps": job.total_timesteps,
        "evaluation_episodes": job.evaluation_episodes,
        "evaluation_seed": evaluation_seed(job.seed),
        "hyperparameters": plain_settings(job.hyperparameters),
    }


def plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON data, which has no infinite numbers: they become "inf"."""
    return {k: str(v) if isinstance(v, float) and math.isinf(v) else v for k, v in settings.items()}


def episodic_fields(config: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of every job that plays episodes, from a config.json."""
    return {
        "env": environment_in(config["env"]),
        "seed": config["seed"],
        "hyperparameters": settings_in(config),
        "evaluation_episodes": config["evaluation_episodes"],
    }


def settings_in(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that `plain_settings` turned into JSON data."""
    return {k: float(v) if v == "inf" else v for k, v in config["hyperparameters"].items()}
