"""The kinds of jobs, by the kind of agent that they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from baselines.jobs.agent_job import AgentJob
from baselines.jobs.controller_job import ControllerJob
from baselines.jobs.episodic_job import EpisodicJob, EpisodicKind
from baselines.jobs.job import Job, JobKind
from baselines.jobs.solver_job import SolverJob
from baselines.jobs.stored_result import DamagedFile, read_json_object
from baselines.names.agents import AgentKind, kind_of

EPISODIC: dict[AgentKind, EpisodicKind] = {"deep agent": AgentJob, "controller": ControllerJob}
KINDS: dict[AgentKind, JobKind] = {"solver": SolverJob, **EPISODIC}


def job_from(config: dict[str, Any]) -> Job:
    """Return the job of a config.json.

    Raises:
        ValueError: if there is no agent of that name.
        KeyError, TypeError, AttributeError: if the data has another form.
    """
    return KINDS[kind_of(config["agent"])].from_config(config)


def episodic_job_from(config: dict[str, Any] | None) -> EpisodicJob | None:
    """Return the job of a config.json, None without one or if it plays no episodes."""
    if config is None or "total_timesteps" not in config:
        return None
    return EPISODIC[kind_of(config["agent"])].from_config(config)


def episodic_job_in(folder: Path) -> EpisodicJob | None:
    """Return the job of a folder, None if it has no config.json or the job plays no episodes.

    Raises:
        ValueError: if config.json cannot be read, or is not that of a job.
    """
    file = folder / "config.json"
    if not file.exists():
        return None
    config = read_json_object(file)
    try:
        return episodic_job_from(config)
    except (KeyError, TypeError, AttributeError) as error:
        told = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedFile(f"{file} is damaged: {told}") from error
