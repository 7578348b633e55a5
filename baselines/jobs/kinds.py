"""The kinds of jobs, by the kind of agent that they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from baselines.jobs.agent_job import AgentJob
from baselines.jobs.controller_job import ControllerJob
from baselines.jobs.episodic_job import EpisodicJob, EpisodicKind
from baselines.jobs.job import Job, JobKind
from baselines.jobs.plain_agent_job import PlainAgentJob
from baselines.jobs.policy_file_job import PolicyFileJob
from baselines.jobs.solver_job import SolverJob
from baselines.jobs.stored_config import DamagedConfig, check_config
from baselines.jobs.stored_result import DamagedFile, read_json_object
from baselines.names.agents import AgentKind, kind_of
from baselines.names.own_code import is_own_code
from baselines.names.policy_files import is_policy_file

EPISODIC: dict[AgentKind, EpisodicKind] = {
    "deep agent": AgentJob,
    "controller": ControllerJob,
    "plain agent": PlainAgentJob,
    "policy file": PolicyFileJob,
}
KINDS: dict[AgentKind, JobKind] = {"solver": SolverJob, **EPISODIC}


def job_from(config: dict[str, Any]) -> Job:
    """Return the job of a config.json.

    Raises:
        DamagedConfig: if an entry has another type.
        ValueError: if there is no agent of that name.
        KeyError, TypeError, AttributeError: if the data has another form.
    """
    check_config(config)
    return KINDS[kind_in(config)].from_config(config)


def episodic_job_from(config: dict[str, Any] | None) -> EpisodicJob | None:
    """Return the job of a config.json, None without one or if it plays no episodes."""
    if config is None or "total_timesteps" not in config:
        return None
    check_config(config)
    return EPISODIC[kind_in(config)].from_config(config)


def kind_in(config: dict[str, Any]) -> AgentKind:
    """Return the kind of the agent in a config.json; nothing is imported.

    Raises:
        ValueError: if there is no agent of that name or of that kind.
    """
    if "agent_code" in config:
        kind: AgentKind = config["agent_code"]["kind"]
        if kind not in KINDS:
            raise ValueError(f"config.json has the kind of agent {kind!r}; known: {[*KINDS]}")
        return kind
    if is_own_code(config["agent"]) or is_policy_file(config["agent"]):
        raise ValueError(f"config.json names the agent {config['agent']!r} without its code")
    return kind_of(config["agent"])


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
    except (DamagedConfig, KeyError, TypeError, AttributeError) as error:
        told = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedFile(f"{file} is damaged: {told}") from error
