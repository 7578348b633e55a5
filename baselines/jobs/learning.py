"""The training of a deep agent, which goes on from its newest checkpoint bit for bit."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from agents import ConstrainedAgent
from agents.running_training import resume, why_not_restorable
from agents.saving.object_walks import NotRestorableError
from baselines.atomic_files import write_atomically
from baselines.jobs.checkpointing import PROGRESS, Checkpointing
from baselines.jobs.checkpoints import Checkpoint, Checkpoints
from baselines.jobs.episodic_job import TrainedJob
from baselines.jobs.interruption import Interruption
from baselines.jobs.progress_file import ProgressFile, tensorboard_files
from baselines.jobs.run_folder import start_anew
from baselines.jobs.settings import make_agent, make_training_env
from safe_envs.contract.argument_checks import is_number
from safe_envs.contract.thread_count import set_num_threads

LOG = logging.getLogger(__name__)
UNUSABLE = (ValueError, TypeError, LookupError, AttributeError, OSError)  # by a file of wrong data
TENSORBOARD = "tensorboard"


@dataclass(frozen=True)
class PreparedRun:
    """A job with its untrained agent."""

    job: TrainedJob
    model: ConstrainedAgent
    venv: VecEnv


@dataclass
class History:
    """What all processes that worked on a training have to tell, as it stands in checkpoints."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    restarted_at: list[int] = field(default_factory=list)  # timesteps
    restorable: bool = True  # environments in the middle of an episode

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> History:
        """Return the history in the manifest of a checkpoint; ValueError if it is not one."""
        found: dict[str, Any] = {one.name: manifest.get(one.name) for one in fields(cls)}
        numbers = (found["cpu_seconds"], found["wall_seconds"])
        lists = {"warnings": str, "restarted_at": int}
        if (
            all(is_number(one) for one in numbers)
            and isinstance(found["restorable"], bool)
            and all(isinstance(found[name], list) for name in lists)
            and all(isinstance(one, kind) for name, kind in lists.items() for one in found[name])
        ):
            return cls(**found)
        raise ValueError(f"its manifest has {found}")


def prepare_training(job: TrainedJob) -> PreparedRun:
    """Return the job's agent in its environments.

    Raises:
        ValueError, TypeError: for a setting out of range.
        CostSignalError: if the environment declares no constraints and there is no cost_limit.
    """
    torch.set_num_threads(1)
    set_num_threads(1)
    settings = job.hyperparameters
    venv = make_training_env(job.env, settings["n_envs"])
    return PreparedRun(job, make_agent(job.agent_class(), venv, settings, job.seed), venv)


def learn(
    run: PreparedRun,
    folder: Path,
    checkpoints: Checkpoints,
    found: Iterator[Checkpoint],
    interruption: Interruption,
    caught: list[warnings.WarningMessage],
    callback: BaseCallback | None,
    interval: float | None,
) -> tuple[PreparedRun, History]:
    """Train to the end and return the trained agent.

    Args:
        run: untrained.
        folder: of the run.
        checkpoints: where the state is written from time to time.
        found: of this job, the newest first; the first one that can be used is.
        interruption: tells of signals to stop.
        caught: warnings of this process; it grows.
        callback: of Stable-Baselines3.
        interval: seconds between checkpoints, None for the usual ones.
    """
    run, before, goes_on = _begun(run, folder, found)
    model = run.model
    cpu, wall = time.process_time(), time.perf_counter()

    def so_far() -> History:
        return History(
            before.cpu_seconds + time.process_time() - cpu,
            before.wall_seconds + time.perf_counter() - wall,
            merged(before.warnings, caught),
            before.restarted_at,
            before.restorable,
        )

    def give_up(reason: str) -> None:
        before.restorable = False
        _tell_unrestorable(run.job, reason)

    checkpointing = Checkpointing(
        checkpoints,
        interruption,
        extra=lambda: asdict(so_far()),
        give_up=give_up,
        progress=(folder / PROGRESS).read_bytes,
        with_environments=before.restorable,
        seconds_before=before.wall_seconds,
        interval=interval,
    )
    callbacks: list[BaseCallback] = [checkpointing]
    if callback is not None:
        callbacks.insert(0, callback)
    left = run.job.total_timesteps - model.num_timesteps
    try:
        if left > 0:
            with interruption.deferred():
                model.learn(left, CallbackList(callbacks), reset_num_timesteps=not goes_on)
    finally:
        model.logger.close()
    return run, so_far()


def merged(before: list[str], caught: list[warnings.WarningMessage]) -> list[str]:
    """Return warnings as texts, each once."""
    now = [f"{item.category.__name__}: {item.message}" for item in caught]
    return list(dict.fromkeys([*before, *now]))


def _begun(
    run: PreparedRun, folder: Path, found: Iterator[Checkpoint]
) -> tuple[PreparedRun, History, bool]:
    """Return the agent where it goes on, or as new, and whether it goes on."""
    for checkpoint in found:
        try:
            return *_continued(run, folder, checkpoint), True
        except UNUSABLE as error:
            LOG.warning("the checkpoint %s cannot be used: %s", checkpoint.folder, error)
            if "_logger" in vars(run.model):
                run.model.logger.close()
            run.venv.close()
            run = prepare_training(run.job)
    start_anew(folder, run.job)
    before = History(restorable=_is_restorable(run))
    run.model.set_logger(_logger(folder, 0))
    return run, before, False


def _is_restorable(run: PreparedRun) -> bool:
    """Return whether the environments can be restored; the log says if not, and why."""
    job = run.job
    reason = why_not_restorable(
        lambda: make_training_env(job.env, job.hyperparameters["n_envs"]), job.seed
    )
    if reason:
        _tell_unrestorable(job, reason)
    return not reason


def _tell_unrestorable(job: TrainedJob, reason: str) -> None:
    LOG.warning(
        "%s cannot be restored in the middle of an episode: %s. If this training is interrupted, "
        "it goes on with new episodes, and result.json says so (restarted_at).",
        job.env,
        reason,
    )


def _continued(run: PreparedRun, folder: Path, found: Checkpoint) -> tuple[PreparedRun, History]:
    """Return the agent as it was in a checkpoint."""
    LOG.info("going on from step %s of %s", f"{found.timesteps:,}", f"{run.job.total_timesteps:,}")
    history = History.of(found.manifest)
    write_atomically(folder / PROGRESS, (found.folder / PROGRESS).read_bytes())
    if history.restorable:
        run.model.set_logger(_logger(folder, found.timesteps))
        try:
            resume(run.model, found.folder)
            return run, history
        except NotRestorableError as error:
            LOG.warning("%s cannot be restored: %s", run.job.env, error)
            run.model.logger.close()
            run.venv.close()
            run = prepare_training(run.job)
    run.model.set_logger(_logger(folder, found.timesteps))
    resume(run.model, found.folder, with_environments=False)
    history.restarted_at.append(found.timesteps)
    LOG.warning("the episodes in progress are given up; new ones begin")
    return run, history


def _logger(folder: Path, timesteps: int) -> Logger:
    formats = [
        ProgressFile(folder / PROGRESS),
        tensorboard_files(folder / TENSORBOARD, timesteps),
    ]
    return Logger(str(folder), formats)
