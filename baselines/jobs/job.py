"""One job: an agent on an environment with a seed, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from baselines.names.environments import EnvironmentName


class AnyJob(Protocol):
    """What all kinds of jobs have in common."""

    @property
    def env(self) -> EnvironmentName:
        """Where the agent runs."""

    @property
    def agent(self) -> str:
        """Name of the agent."""

    @property
    def seed(self) -> int:
        """Of everything random."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Settings of the agent."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that a finished job has beside config.json and result.json."""

    @property
    def other_files(self) -> tuple[str, ...]:
        """Names of files and folders that it may have."""

    def folder(self, out: Path) -> Path:
        """Return the folder of this job's files."""

    def config(self) -> dict[str, Any]:
        """Return the job as JSON data; equal configurations give equal results."""


@dataclass(frozen=True)
class Job:
    """Everything that decides the result of a tabular solver."""

    env: EnvironmentName
    agent: str
    seed: int
    evaluations: int
    hyperparameters: dict[str, Any]

    files: ClassVar[tuple[str, ...]] = ("trace.npz",)
    other_files: ClassVar[tuple[str, ...]] = ()

    def folder(self, out: Path) -> Path:
        """Return the folder of this job's files."""
        return job_folder(out, self.env, self.agent, self.seed)

    def config(self) -> dict[str, Any]:
        """Return the job as JSON data; equal configurations give equal results."""
        return {
            **common_config(self),
            "evaluations": self.evaluations,
            "hyperparameters": self.hyperparameters,
        }


@dataclass(frozen=True)
class JobResult:
    """What a finished job measured, as it stands in result.json."""

    value: float  # V_r of the last policy
    costs: list[float]  # (m,) V_c of the last policy
    violation: list[float]  # (m,) costs - limits; feasible if <= 0
    multipliers: list[float]  # (m,) the last ones
    gap: float  # optimal value - value
    tail_error: float  # worst of |gap| and violation over the last 20 percent of the evaluations
    optimum: dict[str, Any]  # value, costs, multipliers of the linear program
    evaluations: int
    cpu_seconds: float
    seed: int
    hyperparameters: dict[str, Any]
    warnings: list[str]
    versions: dict[str, str]


AJob = TypeVar("AJob", bound=AnyJob)
AResult = TypeVar("AResult")


@dataclass(frozen=True)
class Outcome(Generic[AJob, AResult]):
    """A job with its result, or with the traceback of its failure."""

    job: AJob
    result: AResult | None
    error: str = ""

    @property
    def reason(self) -> str:
        """The last line of the traceback; empty if the job did not fail."""
        lines = self.error.strip().splitlines()
        return lines[-1] if lines else ""


TabularOutcome = Outcome[Job, JobResult]


def common_config(job: AnyJob) -> dict[str, Any]:
    """Return what every job's configuration has, as JSON data."""
    return {
        "env": {"id": job.env.id, "kwargs": dict(job.env.kwargs)},
        "agent": job.agent,
        "seed": job.seed,
    }


def job_folder(out: Path, env: EnvironmentName, agent: str, seed: int) -> Path:
    """Return the folder of one job within the folder of a comparison."""
    return out / env.slug / agent / f"seed_{seed}"
