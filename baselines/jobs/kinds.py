"""The kinds of jobs, by the kind of agent that they run."""

from __future__ import annotations

from typing import Any

from baselines.jobs.agent_job import AgentJob
from baselines.jobs.controller_job import ControllerJob
from baselines.jobs.episodic_job import EpisodicJob, EpisodicKind
from baselines.jobs.job import JobKind
from baselines.jobs.plain_agent_job import PlainAgentJob
from baselines.jobs.policy_file_job import PolicyFileJob
from baselines.jobs.solver_job import SolverJob
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


def episodic_job_from(config: dict[str, Any] | None) -> EpisodicJob | None:
    """Return the job of a config.json, None without one or if it plays no episodes."""
    if config is None or "total_timesteps" not in config:
        return None
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
