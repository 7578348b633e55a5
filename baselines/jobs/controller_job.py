"""The episodes of a controller, which needs no training, and their result."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

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
from baselines.jobs.job import Category, Effort, Player, RunRecord, SectionName
from baselines.jobs.run_folder import open_run, read_outcome, versions
from baselines.jobs.stored_result import write_result
from baselines.measures.episode_statistics import EpisodeStatistics, summarize_episodes
from baselines.names.agents import CONTROLLER_SETTINGS, controller_named
from baselines.names.environments import EnvironmentName
from safe_envs.contract.cost_signal import declared_constraints, with_limits

if TYPE_CHECKING:  # PyTorch
    from stable_baselines3.common.callbacks import BaseCallback


PACKAGES = ("safe-envs", "gymnasium", "numpy", "scipy", "stable-baselines3", "mujoco")
NOT_EXPORTED = (
    "{} computes its actions from the environment's model and is not a network; only policies of "
    "deep agents are exported"
)


@dataclass(frozen=True)
class ControllerJob:
    """Everything that determines the episodes of a controller."""

    env: EnvironmentName
    agent: str
    seed: int  # of the controller's noise, if it has any
    hyperparameters: dict[str, Any]
    evaluation_episodes: int = EVALUATION_EPISODES

    section: ClassVar[SectionName] = "episodes"
    category: ClassVar[Category] = "controller"
    total_timesteps: ClassVar[int] = 0

    @classmethod
    def check(cls, env: EnvironmentName, agent: str, settings: dict[str, Any]) -> None:
        """Raise ValueError if the controller is not for the environment or refuses a setting."""
        prepare_controller(env, agent, settings, seed=0)

    @classmethod
    def planned(
        cls, env: EnvironmentName, agent: str, seed: int, settings: dict[str, Any], effort: Effort
    ) -> ControllerJob:
        """Return the job of a controller with all of its hyperparameters."""
        return cls(env, agent, seed, settings, effort.evaluation_episodes)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ControllerJob:
        """Return the job of a config.json."""
        return cls(
            agent=config["agent"],
            **episodic_fields(config),
        )

    @property
    def record(self) -> RunRecord:
        """What identifies its folder."""
        return RunRecord(episodic_config(self), files=())

    def run(self, folder: Path, command: str, callback: BaseCallback | None = None) -> None:
        """Play the episodes and write the result, as `Job.run` says."""
        open_run(folder, self, {"command": command, "versions": versions(PACKAGES)})
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            settings = self.hyperparameters
            contract = prepare_controller(self.env, self.agent, settings, self.seed).contract
            seed = evaluation_seed(self.seed)
            evaluation = self.evaluate(folder, self.evaluation_episodes, seed)
        messages = [f"{item.category.__name__}: {item.message}" for item in caught]
        refused, installed = NOT_EXPORTED.format(self.agent), versions(PACKAGES)
        result = episodic_result(
            self, contract, evaluation, refused, messages, installed, uses_model=True
        )
        write_result(folder, result, self.record.files)

    def evaluate(self, folder: Path, episodes: int, seed: int) -> Evaluation:
        """Return statistics of fresh episodes; the job alone determines the controller."""
        return Evaluation(
            stochastic=evaluate_controller(self, episodes, False, seed),
            deterministic=evaluate_controller(self, episodes, True, seed),
        )

    def outcome(self, folder: Path) -> EpisodicOutcome:
        """Return the result in the folder, or why there is none."""
        return read_outcome(folder, self, EpisodicResult.from_json)

    def player(self, folder: Path, seed: int) -> Player:
        """Return the controller, as `Job.player` says; the job alone determines it."""
        return _player(self, seed)


def prepare_controller(
    env: EnvironmentName, agent: str, settings: Mapping[str, Any], seed: int
) -> Player:
    """Return a controller for an environment.

    Args:
        env: whose model the controller uses.
        agent: a name of `baselines.names.agents.CONTROLLERS`.
        settings: from `hyperparameters_for`.
        seed: of the controller's noise, if it has any.

    Raises:
        ValueError: if it does not support the environment, a setting is out of range, or a
            package is missing.
    """
    from agents.training_env import Contract  # PyTorch

    kind = controller_named(agent)
    own = {name: value for name, value in settings.items() if name not in CONTROLLER_SETTINGS}
    if "seed" in inspect.signature(kind).parameters:
        own["seed"] = seed
    made = env.make()
    try:
        controller = kind(made, **own)
        constraints = with_limits(declared_constraints(made), settings["cost_limit"], "cost_limit")
        discount = made.get_wrapper_attr("reward_discount")
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f"{agent} on {env}: {error}") from error
    finally:
        made.close()
    return Player(controller, Contract(constraints, discount))


def evaluate_controller(
    job: ControllerJob, episodes: int, deterministic: bool, seed: int
) -> EpisodeStatistics:
    """Return statistics of fresh episodes, the same ones that deep agents play.

    Args:
        job: of a controller; its seed determines the controller's noise.
        episodes: at least one.
        deterministic: leave out the noise of a controller that has any.
        seed: of the evaluation.
    """
    from agents.evaluation import MOST_COPIES  # these import PyTorch
    from baselines.jobs.settings import make_training_env
    from baselines.measures.episode_sampling import sample_episodes

    made = _player(job, seed)
    venv = make_training_env(job.env, min(episodes, MOST_COPIES))
    try:
        drawn = sample_episodes(made.acts, venv, made.contract, episodes, seed, deterministic)
    finally:
        venv.close()
    return summarize_episodes(drawn, exact=None)


def _player(job: ControllerJob, seed: int) -> Player:
    """Return the controller; its noise depends on the seeds of the job and of the episodes."""
    noise = int(np.random.SeedSequence((job.seed, seed)).generate_state(1)[0])
    return prepare_controller(job.env, job.agent, job.hyperparameters, noise)
