"""Trains a class with the face of Stable-Baselines3 and evaluates its policy with costs."""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from threadpoolctl import threadpool_limits

from agents.episode_sampling import own_random_numbers
from agents.evaluation import MOST_COPIES
from agents.training_env import Contract, contract_of
from baselines.jobs.episodic_job import (
    Evaluation,
    TrainedJob,
    TrainingTotals,
    episodic_result,
    evaluation_seed,
)
from baselines.jobs.job import Player
from baselines.jobs.progress_file import ProgressFile, tensorboard_files
from baselines.jobs.run_folder import open_run, versions
from baselines.jobs.settings import (
    constructor_arguments,
    contract_in_force,
    make_training_env,
    policy_for,
)
from baselines.jobs.stored_result import write_result
from baselines.jobs.training_record import RecordedEnv, RecordedVecEnv, TrainingRecord
from baselines.measures.episode_sampling import sample_episodes
from baselines.measures.episode_statistics import EpisodeStatistics, summarize_episodes
from baselines.measures.plain_policy_values import exact_values_of
from baselines.names.agents import CONTROLLER_SETTINGS
from baselines.policy_export.plain_policy import export_plain_policy
from baselines.policy_export.policy_export import contract_metadata
from baselines.policy_export.policy_graph import ExportRefusedError
from safe_envs.contract.thread_count import set_num_threads

PACKAGES = ("safe-envs", "gymnasium", "numpy", "torch", "stable-baselines3", "mujoco", "onnx")
FACE = "predict(observation, state=None, episode_start=None, deterministic=False)"
REPETITIONS = 16  # of predict, which has to choose the same; one could agree by chance


@dataclass(frozen=True)
class PreparedPlainRun:
    """A job with its untrained agent."""

    job: TrainedJob
    model: Any  # of the user's class
    env: Any  # that it trains in
    contract: Contract
    record: TrainingRecord


def prepare_training(job: TrainedJob) -> PreparedPlainRun:
    """Return the job's agent in its environments, after a trial of its `save`, `load`, `predict`.

    With n_envs = 1 the class gets a single environment of Gymnasium, else a VecEnv.

    Raises:
        ValueError: if the trial fails, or for a setting out of range.
        CostSignalError: if the environment declares no constraints and there is no cost_limit.
        Exception: whatever the class raises.
    """
    torch.set_num_threads(1)
    set_num_threads(1)
    settings = job.hyperparameters
    venv = make_training_env(job.env, settings["n_envs"])
    contract = contract_of(venv, settings["cost_limit"], required=True)
    record = TrainingRecord(contract, job.total_timesteps)
    env: Any = RecordedVecEnv(venv, record)
    if settings["n_envs"] == 1:
        venv.close()
        env = RecordedEnv(job.env.make(), record)
    own = {k: v for k, v in settings.items() if k not in CONTROLLER_SETTINGS}
    policy = policy_for(venv, settings["policy"])
    model = job.agent_class()(policy, env, seed=job.seed, **constructor_arguments(own))
    with own_random_numbers(model, job.seed):  # as if there were no trial
        _try_face(job, model)
    return PreparedPlainRun(job, model, env, contract, record)


def finish_training(
    run: PreparedPlainRun, folder: Path, command: str, callback: BaseCallback | None = None
) -> None:
    """Train and write the files of the run, the result last.

    Args:
        run: from `prepare_training`.
        folder: of the run.
        command: the command line that started it, for config.json.
        callback: of Stable-Baselines3; only its own algorithms get it.
    """
    job = run.job
    measured = _packages(job)
    open_run(folder, job, {"command": command, "versions": versions(measured)})
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        cpu, wall = time.process_time(), time.perf_counter()
        _learn(run, folder, callback)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        run.model.save(folder / "model.zip")
        refusal = _export(run, folder)
        evaluation = _evaluate(run.model, job, job.evaluation_episodes, evaluation_seed(job.seed))
    run.env.close()
    messages = [f"{item.category.__name__}: {item.message}" for item in caught]
    training = TrainingTotals(run.record.timesteps, cpu, wall)
    result = episodic_result(
        job, run.contract, evaluation, refusal, messages, versions(measured), training
    )
    write_result(folder, result, (*job.record.files, *job.record.other_files))


def evaluate_saved(job: TrainedJob, folder: Path, episodes: int, seed: int) -> Evaluation:
    """Return statistics of fresh episodes of a finished run's final policy.

    Loading it runs its own code, which reads model.zip: only for folders that are trusted.
    """
    return _evaluate(_load(job, folder), job, episodes, seed)


def load_player(job: TrainedJob, folder: Path) -> Player:
    """Return the agent of a finished run; only for folders that are trusted, as above."""
    limit = job.hyperparameters["cost_limit"]
    return Player(_load(job, folder), contract_in_force(job.env, limit))


def _load(job: TrainedJob, folder: Path) -> Any:
    return job.agent_class().load(folder / "model.zip")


def _evaluate(model: Any, job: TrainedJob, episodes: int, seed: int) -> Evaluation:
    """Play the episodes in both modes."""

    def played(deterministic: bool) -> EpisodeStatistics:
        venv = make_training_env(job.env, min(episodes, MOST_COPIES))
        try:
            limit = job.hyperparameters["cost_limit"]
            contract = contract_of(venv, limit, required=True)
            drawn = sample_episodes(model, venv, contract, episodes, seed, deterministic)
            exact = exact_values_of(model, job.env, contract, deterministic)
            return summarize_episodes(drawn, exact)
        finally:
            venv.close()

    return Evaluation(stochastic=played(False), deterministic=played(True))


def _learn(run: PreparedPlainRun, folder: Path, callback: BaseCallback | None) -> None:
    board = tensorboard_files(folder / "tensorboard", 0)
    costs = Logger(str(folder), [ProgressFile(folder / "progress.csv"), board])
    run.record.logger = costs
    passed = {}
    if isinstance(run.model, BaseAlgorithm):
        run.model.set_logger(Logger(str(folder), [board]))
        passed = {"callback": callback}
    try:
        run.model.learn(run.job.total_timesteps, **passed)
        run.record.write()
    finally:
        costs.close()


def _export(run: PreparedPlainRun, folder: Path) -> str:
    """Write policy.onnx and return why there is none, "" if there is."""
    try:
        export_plain_policy(
            run.model,
            run.job.env.make,
            folder / "policy.onnx",
            _metadata(run),
        )
    except ExportRefusedError as refusal:
        return str(refusal)
    return ""


def _packages(job: TrainedJob) -> tuple[str, ...]:
    """Return the packages that affect the numbers: those of the class and its parents as well."""
    modules = {one.__module__.partition(".")[0] for one in job.agent_class().__mro__}
    homes = packages_distributions()
    own = {package for module in modules for package in homes.get(module, ())}
    return (*PACKAGES, *sorted(own - {*PACKAGES}))


def _metadata(run: PreparedPlainRun) -> dict[str, str]:
    told = {"agent": run.job.agent, "env": str(run.job.env), "seed": str(run.job.seed)}
    return contract_metadata(run.contract, told, version("safe-envs"))


def _try_face(job: TrainedJob, model: Any) -> None:
    """Save the untrained agent, load it and let both choose an action.

    Raises:
        ValueError: if one of them does not do what it has to; hours of training would be lost.
    """
    venv = make_training_env(job.env, 2)
    try:
        venv.seed(job.seed)
        observations = venv.reset()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.zip"
            model.save(path)
            if not path.is_file():
                written = ", ".join(one.name for one in Path(folder).iterdir()) or "nothing"
                raise ValueError(
                    f"{job.agent}.save({path.name!r}) wrote {written}; it has to write the file "
                    "that it is given"
                )
            loaded = job.agent_class().load(path)
        chosen = _predicted(job, model, observations, venv.num_envs)
        repeated = [_predicted(job, model, observations, venv.num_envs) for _ in range(REPETITIONS)]
        again = _predicted(job, loaded, observations, venv.num_envs)
    finally:
        venv.close()
    if not all(np.array_equal(chosen, other) for other in repeated):
        raise ValueError(
            f"{job.agent}.predict(..., deterministic=True) answers the same observations with "
            "different actions; make it return the most likely action, without random numbers and "
            "without memory outside of the state that it is given"
        )
    if not np.array_equal(chosen, again):
        raise ValueError(
            f"{job.agent}.load(path) acts differently from the agent that was saved; save all that "
            "predict uses"
        )


def _predicted(job: TrainedJob, model: Any, observations: Any, count: int) -> np.ndarray:
    starts = np.ones(count, dtype=np.bool_)
    try:
        given = model.predict(observations, state=None, episode_start=starts, deterministic=True)
        actions, _ = given
        shape = np.shape(actions)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{job.agent}.predict failed: {type(error).__name__}: {error}; it has to be {FACE}, "
            "take a batch of observations, and return (actions, state)"
        ) from error
    if shape[:1] != (count,):
        raise ValueError(
            f"{job.agent}.predict returned actions of shape {shape} for {count} observations; it "
            "takes a batch and returns one action per observation"
        )
    return np.asarray(actions)
