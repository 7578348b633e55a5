"""What a job is: one agent on one environment with one seed, run in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from baselines.names.environments import EnvironmentName
from baselines.names.own_code import slug

if TYPE_CHECKING:
    from gymnasium import Space
    from stable_baselines3.common.callbacks import BaseCallback  # PyTorch

    from agents.episode_sampling import Predictor
    from agents.training_env import Contract

SectionName = Literal["solvers", "episodes"]
Category = Literal["solver", "deep agent", "controller", "finished policy"]


class RunRecord(NamedTuple):
    """What identifies the folder of a job."""

    config: dict[str, Any]  # JSON data that determines the result
    files: tuple[str, ...]  # that a finished job has beside config.json and result.json
    other_files: tuple[str, ...] = ()  # files and folders that it may have
    obsolete_files: tuple[str, ...] = ()  # of earlier versions, whose jobs have to run again


class PlayerSpaces(NamedTuple):
    """The spaces of what acts."""

    observation: Space[Any]
    action: Space[Any]


class Player(NamedTuple):
    """What acts in the environment of a run, and how its episodes are measured."""

    acts: Predictor
    contract: Contract
    spaces: PlayerSpaces | None = None  # that its file names; None if only the environment has them


class JobRefused(ValueError):
    """The agent does not accept its environment or a setting; nothing has been written yet.

    The original error is the cause of this exception.
    """


class Job(Protocol):
    """What the runner knows about a job; equal records give equal results."""

    @property
    def env(self) -> EnvironmentName:
        """Where the agent runs."""

    @property
    def agent(self) -> str:
        """Name of the agent."""

    @property
    def seed(self) -> int:
        """Random seed."""

    @property
    def section(self) -> SectionName:
        """Section of the report that shows the outcome."""

    @property
    def category(self) -> Category:
        """What the report calls its kind of agent, and explains."""

    @property
    def record(self) -> RunRecord:
        """What identifies its folder."""

    def run(self, folder: Path, command: str, callback: BaseCallback | None = None) -> None:
        """Run and write the files of the run, result.json last.

        Args:
            folder: of the run.
            command: the command line that started it, for config.json.
            callback: of Stable-Baselines3; a job without training does not call it.

        Raises:
            JobRefused: if the agent cannot run with these settings.
        """

    def outcome(self, folder: Path) -> AnyOutcome:
        """Return the result in the folder, or why there is none."""

    def player(self, folder: Path, seed: int) -> Player:
        """Return what acts after a finished run; nothing in the folder is executed.

        Args:
            folder: of the run.
            seed: of the noise of what draws from a generator of its own.
        """


AJob = TypeVar("AJob", bound=Job)
AResult = TypeVar("AResult")


@dataclass(frozen=True)
class Outcome(Generic[AJob, AResult]):
    """A job with its result, or with the traceback of its failure."""

    job: AJob
    result: AResult | None
    error: str = ""
    is_damaged: bool = False  # there is a result, but a file of it cannot be read or has changed

    @property
    def reason(self) -> str:
        """The last line of the traceback; empty if the job did not fail."""
        lines = self.error.strip().splitlines()
        return lines[-1] if lines else ""


AnyOutcome = Outcome[Any, Any]  # of any kind of job; every result has `warnings` and `versions`


class Effort(NamedTuple):
    """How long the jobs of a comparison run; each kind of job uses what applies to it."""

    evaluations: int  # exact policy evaluations
    total_timesteps: int  # of training
    evaluation_episodes: int  # in each mode


class JobKind(Protocol):
    """How the runner makes the jobs of one kind of agent."""

    def check(self, env: EnvironmentName, agent: str, settings: dict[str, Any]) -> None:
        """Raise ValueError if it is clear beforehand that the agent cannot run there."""

    def planned(
        self, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> Job:
        """Return the job of an agent with all of its hyperparameters."""

    def from_config(self, config: dict[str, Any]) -> Job:
        """Return the job of a config.json."""


def common_config(job: Job) -> dict[str, Any]:
    """Return what every job's configuration has, as JSON data."""
    return {
        "env": job.env.as_json(),
        "agent": job.agent,
        "seed": job.seed,
    }


def job_folder(out: Path, job: Job) -> Path:
    """Return the folder of a job within the folder of a comparison."""
    return out / job.env.slug / slug(job.agent) / f"seed_{job.seed}"
