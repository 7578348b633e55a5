"""Trains a deep agent, evaluates and exports its final policy, and writes the result."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv
from threadpoolctl import threadpool_limits

import agents
from agents import ConstrainedAgent
from agents.evaluation import MOST_COPIES
from baselines.atomic_files import write_json
from baselines.jobs.episodic_job import (
    EVALUATION_SEED,
    EpisodicJob,
    EpisodicResult,
    Evaluation,
    plain_settings,
)
from baselines.jobs.run_folder import open_run, versions
from baselines.jobs.settings import make_agent, make_training_env
from baselines.measures.episode_sampling import evaluate_policy
from baselines.measures.episode_statistics import EpisodeStatistics
from baselines.policy_export.policy_export import ExportRefusedError, export_policy, policy_metadata

PACKAGES = ("safe-envs", "gymnasium", "numpy", "torch", "stable-baselines3", "mujoco", "onnx")
NOT_KEPT = ("episodes", "held", "violation")  # of the last update's log: measured again at the end


@dataclass(frozen=True)
class PreparedRun:
    """A job with its untrained agent."""

    job: EpisodicJob
    model: ConstrainedAgent
    venv: VecEnv


@dataclass(frozen=True)
class TrainingEffort:
    """The time that training took."""

    cpu_seconds: float
    wall_seconds: float


def prepare_training(job: EpisodicJob) -> PreparedRun:
    """Return the job's agent in its environments.

    Raises:
        ValueError, TypeError: for a setting out of range.
        CostSignalError: if the environment declares no constraints and there is no cost_limit.
    """
    torch.set_num_threads(1)
    settings = job.hyperparameters
    venv = make_training_env(job.env, settings["n_envs"])
    return PreparedRun(job, make_agent(job.agent, venv, settings, job.seed), venv)


def finish_training(
    run: PreparedRun, folder: Path, command: str, callback: BaseCallback | None = None
) -> None:
    """Train and write the files of the run, the result last.

    Args:
        run: from `prepare_training`.
        folder: of the run.
        command: the command line that started it, for config.json.
        callback: of Stable-Baselines3.
    """
    provenance = {"command": command, "versions": versions(PACKAGES)}
    open_run(folder, run.job, provenance)
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        effort = _learn(run, folder, callback)
        run.model.save(folder / "model.zip")
        refusal = _export(run, folder)
        evaluation = _evaluate(run.model, run.job, run.job.evaluation_episodes, EVALUATION_SEED)
    run.venv.close()
    messages = [f"{item.category.__name__}: {item.message}" for item in caught]
    result = _result(run, effort, evaluation, refusal, messages)
    write_json(folder / "result.json", asdict(result))


def evaluate_saved(job: EpisodicJob, folder: Path, episodes: int, seed: int) -> Evaluation:
    """Return statistics of fresh episodes of a finished run's final policy.

    Args:
        job: of the run.
        folder: of the run.
        episodes: in each mode, at least one.
        seed: of the evaluation.
    """
    kind: type[ConstrainedAgent] = getattr(agents, job.agent)
    return _evaluate(kind.load(folder / "model.zip"), job, episodes, seed)


def _evaluate(model: ConstrainedAgent, job: EpisodicJob, episodes: int, seed: int) -> Evaluation:
    """Play the episodes in both modes."""

    def played(deterministic: bool) -> EpisodeStatistics:
        venv = make_training_env(job.env, min(episodes, MOST_COPIES))
        try:
            return evaluate_policy(model, venv, job.env, episodes, seed, deterministic)
        finally:
            venv.close()

    return Evaluation(stochastic=played(False), deterministic=played(True))


def _learn(run: PreparedRun, folder: Path, callback: BaseCallback | None) -> TrainingEffort:
    formats = [
        CSVOutputFormat(str(folder / "progress.csv")),
        TensorBoardOutputFormat(str(folder / "tensorboard")),
    ]
    run.model.set_logger(Logger(str(folder), formats))
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        run.model.learn(run.job.total_timesteps, callback)
        return TrainingEffort(time.process_time() - cpu, time.perf_counter() - wall)
    finally:
        run.model.logger.close()


def _export(run: PreparedRun, folder: Path) -> str:
    """Write policy.onnx and return why there is none, "" if there is."""
    job = run.job
    metadata = policy_metadata(run.model, str(job.env), job.seed, version("safe-envs"))
    try:
        export_policy(run.model, run.venv.observation_space, folder / "policy.onnx", metadata)
    except ExportRefusedError as refusal:
        return str(refusal)
    return ""


def _result(
    run: PreparedRun,
    effort: TrainingEffort,
    evaluation: Evaluation,
    refusal: str,
    messages: list[str],
) -> EpisodicResult:
    job, model = run.job, run.model
    logged = {
        name.removeprefix("constraint/"): float(number)
        for name, number in model.logger.name_to_value.items()
        if name.startswith("constraint/")
    }
    return EpisodicResult(
        agent=job.agent,
        env=str(job.env),
        seed=job.seed,
        timesteps=model.num_timesteps,
        constraint_names=[constraint.name for constraint in model.constraints],
        limits=[constraint.limit for constraint in model.constraints],
        cost_discounts=[constraint.discount for constraint in model.constraints],
        reward_discount=model.reward_discount,
        stochastic=evaluation.stochastic,
        deterministic=evaluation.deterministic,
        final_constraint_log={k: v for k, v in logged.items() if k.split("/")[0] not in NOT_KEPT},
        cpu_seconds=effort.cpu_seconds,
        wall_seconds=effort.wall_seconds,
        steps_per_cpu_second=model.num_timesteps / max(effort.cpu_seconds, 1e-9),
        policy_onnx=None if refusal else "policy.onnx",
        policy_onnx_refused=refusal,
        hyperparameters=plain_settings(job.hyperparameters),
        warnings=list(dict.fromkeys(messages)),
        versions=versions(PACKAGES),
    )
