"""Trains a deep agent, evaluates and exports its final policy, and writes the result."""

from __future__ import annotations

import logging
import warnings
from importlib.metadata import version
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback
from threadpoolctl import threadpool_limits

from agents import ConstrainedAgent
from agents.evaluation import MOST_COPIES
from agents.training_env import Contract
from baselines.jobs.checkpointing import FILES
from baselines.jobs.checkpoints import Checkpoints, chosen_interval
from baselines.jobs.episodic_job import (
    EpisodicResult,
    Evaluation,
    TrainedJob,
    TrainingTotals,
    episodic_result,
    evaluation_seed,
)
from baselines.jobs.interruption import watched_signals
from baselines.jobs.job import Player, PlayerSpaces
from baselines.jobs.learning import History, PreparedRun, learn, merged, prepare_training
from baselines.jobs.run_folder import open_run, versions
from baselines.jobs.settings import make_training_env
from baselines.jobs.stored_result import write_result
from baselines.measures.episode_sampling import evaluate_policy
from baselines.measures.episode_statistics import EpisodeStatistics
from baselines.policy_export.policy_export import ExportRefusedError, export_policy, policy_metadata

__all__ = ["evaluate_saved", "finish_training", "prepare_training"]

LOG = logging.getLogger(__name__)
PACKAGES = ("safe-envs", "gymnasium", "numpy", "torch", "stable-baselines3", "mujoco", "onnx")
NOT_KEPT = ("episodes", "held", "violation")  # of the last update's log: measured again at the end


def finish_training(
    run: PreparedRun, folder: Path, command: str, callback: BaseCallback | None = None
) -> None:
    """Train and write the files of the run, the result last.

    If the folder holds a checkpoint of the job, the training goes on from there.

    Args:
        run: from `prepare_training`.
        folder: of the run.
        command: the command line that started it, for config.json.
        callback: of Stable-Baselines3.

    Raises:
        ValueError: if the seconds between checkpoints that the user chose are none.
        CheckpointRefusedError: if other versions wrote the checkpoint.
        Interrupted: after Ctrl-C or SIGTERM; what was learned until then is saved.
        OSError: if a file cannot be written; earlier checkpoints stay.
    """
    interval, installed = chosen_interval(), versions(PACKAGES)
    checkpoints = Checkpoints(folder, run.job.record.config, installed, FILES)
    found = checkpoints.usable(LOG.warning)
    open_run(folder, run.job, {"command": command, "versions": installed})
    with (
        watched_signals() as interruption,
        threadpool_limits(1),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("default")
        run, history = learn(
            run, folder, checkpoints, found, interruption, caught, callback, interval
        )
        run.model.save(folder / "model.zip")
        refusal = _export(run, folder)
        seed = evaluation_seed(run.job.seed)
        evaluation = _evaluate(run.model, run.job, run.job.evaluation_episodes, seed)
        history.warnings = merged(history.warnings, caught)
        files = (*run.job.record.files, *run.job.record.other_files)
        write_result(folder, _result(run, history, evaluation, refusal), files)
    run.venv.close()
    checkpoints.remove()


def evaluate_saved(job: TrainedJob, folder: Path, episodes: int, seed: int) -> Evaluation:
    """Return statistics of fresh episodes of a finished run's final policy.

    Args:
        job: of the run.
        folder: of the run.
        episodes: in each mode, at least one.
        seed: of the evaluation.
    """
    return _evaluate(_load(job, folder), job, episodes, seed)


def load_player(job: TrainedJob, folder: Path) -> Player:
    """Return the agent of a finished run, with the constraints that it was trained for."""
    model = _load(job, folder)
    spaces = PlayerSpaces(model.observation_space, model.action_space)
    return Player(model, Contract(model.constraints, model.reward_discount), spaces)


def _load(job: TrainedJob, folder: Path) -> ConstrainedAgent:
    kind = job.agent_class()
    model: ConstrainedAgent = kind.load(folder / "model.zip")
    if model.policy.repair_head is not None:  # it acts by the environment's constraint
        venv = make_training_env(job.env, 1)
        model.policy.attach(venv)
        venv.close()
    return model


def _evaluate(model: ConstrainedAgent, job: TrainedJob, episodes: int, seed: int) -> Evaluation:
    """Play the episodes in both modes."""

    def played(deterministic: bool) -> EpisodeStatistics:
        venv = make_training_env(job.env, min(episodes, MOST_COPIES))
        try:
            return evaluate_policy(model, venv, job.env, episodes, seed, deterministic)
        finally:
            venv.close()

    return Evaluation(stochastic=played(False), deterministic=played(True))


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
    run: PreparedRun, history: History, evaluation: Evaluation, refusal: str
) -> EpisodicResult:
    job, model = run.job, run.model
    logged = {
        name.removeprefix("constraint/"): float(number)
        for name, number in model.logger.name_to_value.items()
        if name.startswith("constraint/")
    }
    training = TrainingTotals(
        model.num_timesteps,
        history.cpu_seconds,
        history.wall_seconds,
        {k: v for k, v in logged.items() if k.split("/")[0] not in NOT_KEPT},
        history.restarted_at,
        model.backend_in_use,
    )
    contract = Contract(model.constraints, model.reward_discount)
    installed = versions(PACKAGES)
    return episodic_result(
        *(job, contract, evaluation, refusal, history.warnings, installed, training),
        model.uses_model,
    )
