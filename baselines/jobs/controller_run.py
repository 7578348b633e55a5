"""Runs one job of a controller, which has episodes but no training, up to its result file."""

from __future__ import annotations

import inspect
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from threadpoolctl import threadpool_limits

from agents.training_env import Contract
from baselines.jobs.run_folder import open_run, write_error, write_json
from baselines.jobs.settings import make_training_env
from baselines.jobs.training_job import (
    EVALUATION_SEED,
    TrainingJob,
    TrainingResult,
    plain_settings,
)
from baselines.jobs.versions import versions
from baselines.measures.episode_sampling import MOST_COPIES, Predictor, sample_episodes
from baselines.measures.episode_statistics import EpisodeStatistics, summarise_episodes
from baselines.names.agents import CONTROLLER_SETTINGS, controller_named
from baselines.names.environments import EnvironmentName
from safe_envs.contract.cost_signal import declared_constraints, with_limits

PACKAGES = ("safe-envs", "gymnasium", "numpy", "scipy", "stable-baselines3", "mujoco")
NOT_EXPORTED = (
    "{} computes its actions from the environment's model and is no network; policies of deep "
    "agents are exported"
)


class PreparedController(NamedTuple):
    """A controller and what its episodes are summed with and compared to."""

    controller: Predictor
    contract: Contract


def run_controller(job: TrainingJob, folder: Path, command: str) -> None:
    """Run a job and write its files; an exception ends up in the job's error.txt."""
    try:
        finish_controller(job, folder, command)
    except Exception:
        write_error(folder, traceback.format_exc())


def prepare_controller(
    env: EnvironmentName, agent: str, settings: Mapping[str, Any], seed: int
) -> PreparedController:
    """Return a controller made for an environment.

    Args:
        env: its model is the controller's.
        agent: a name of `agent_names.CONTROLLERS`.
        settings: from `hyperparameters_for`.
        seed: of the controller's noise, if it has any.

    Raises:
        ValueError: if it is not for that environment, a setting is out of its range, or a package
            is missing.
    """
    kind = controller_named(agent)
    own = {name: value for name, value in settings.items() if name not in CONTROLLER_SETTINGS}
    if "seed" in inspect.signature(kind).parameters:
        own["seed"] = seed
    arguments: dict[str, Any] = dict(env.kwargs)
    made = gym.make(env.id, disable_env_checker=True, **arguments)
    try:
        controller = kind(made, **own)
        constraints = with_limits(declared_constraints(made), settings["cost_limit"], "cost_limit")
        discount = made.get_wrapper_attr("reward_discount")
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f"{agent} on {env}: {error}") from error
    finally:
        made.close()
    return PreparedController(controller, Contract(constraints, discount))


def finish_controller(job: TrainingJob, folder: Path, command: str) -> TrainingResult:
    """Play the episodes, write the files of the run, the result last, and return the result.

    Args:
        job: of a controller.
        folder: of the run.
        command: the command line that started it, for config.json.
    """
    open_run(folder, job, {"command": command, "versions": versions(PACKAGES)})
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        contract = prepare_controller(job.env, job.agent, job.hyperparameters, job.seed).contract
        stochastic, deterministic = (
            evaluate_controller(job, job.evaluation_episodes, mode) for mode in (False, True)
        )
    messages = [f"{item.category.__name__}: {item.message}" for item in caught]
    result = _result(job, contract, stochastic, deterministic, messages)
    write_json(folder / "result.json", asdict(result))
    return result


def evaluate_controller(
    job: TrainingJob, episodes: int, deterministic: bool, seed: int = EVALUATION_SEED
) -> EpisodeStatistics:
    """Return statistics of fresh episodes, the same ones that deep agents meet.

    Args:
        job: of a controller; its seed decides the controller's noise.
        episodes: at least one.
        deterministic: leave out the noise of a controller that has any.
        seed: of the evaluation.
    """
    noise = int(np.random.SeedSequence((job.seed, seed)).generate_state(1)[0])
    made = prepare_controller(job.env, job.agent, job.hyperparameters, noise)
    venv = make_training_env(job.env, min(episodes, MOST_COPIES), normalize_observation=False)
    try:
        drawn = sample_episodes(made.controller, venv, made.contract, episodes, seed, deterministic)
    finally:
        venv.close()
    limits = [constraint.limit for constraint in made.contract.constraints]
    return summarise_episodes(drawn, limits, seed, exact=None)


def _result(
    job: TrainingJob,
    contract: Contract,
    stochastic: EpisodeStatistics,
    deterministic: EpisodeStatistics,
    messages: list[str],
) -> TrainingResult:
    return TrainingResult(
        agent=job.agent,
        env=str(job.env),
        seed=job.seed,
        timesteps=0,
        constraint_names=[constraint.name for constraint in contract.constraints],
        limits=[constraint.limit for constraint in contract.constraints],
        cost_discounts=[constraint.discount for constraint in contract.constraints],
        reward_discount=contract.reward_discount,
        stochastic=stochastic,
        deterministic=deterministic,
        final_constraint_log={},
        cpu_seconds=0.0,
        wall_seconds=0.0,
        steps_per_cpu_second=0.0,
        policy_onnx=None,
        policy_onnx_refused=NOT_EXPORTED.format(job.agent),
        hyperparameters=plain_settings(job.hyperparameters),
        warnings=list(dict.fromkeys(messages)),
        versions=versions(PACKAGES),
    )
