"""What a comparison runs: its options, and the jobs that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from baselines.jobs.episodic_job import EVALUATION_EPISODES, LARGEST_SEED
from baselines.jobs.job import Effort, Job
from baselines.jobs.kinds import KINDS
from baselines.names.agents import kind_of, label_of
from baselines.names.environments import (
    EnvironmentName,
    find_tabular_model,
    parse_environment_name,
)
from baselines.names.hyperparameters import (
    Overrides,
    hyperparameters_for,
    parse_overrides,
    read_tables_by_agent,
)
from baselines.shell_command import shell_command
from safe_envs.contract.argument_checks import check_count
from safe_envs.tabular.model import TabularCMDP


@dataclass(frozen=True)
class CompareOptions:
    """Run agents on environments, keep finished jobs, and write tables, plots and a report.

    Tabular solvers need an environment with a tabular model, controllers an environment that they
    support. Deep agents run on any environment.
    """

    envs: tuple[str, ...]
    """Gymnasium ids, my_module:My/Env-v0, or functions that make one, my_env.py:make_env; arguments
    as a query string: "Safe/RandomCMDP-v0?constraints=2"."""
    agents: tuple[str, ...]
    """Names of tabular solvers, deep agents and controllers: pqa_alm PPOLag LQRController; classes
    of yours, my_module:MyAgent or my_agent.py:MyAgent; and finished policies, policy.onnx or a
    folder with policy_0.onnx, policy_1.onnx, ... for the seeds 0, 1, ..."""
    out: Path
    """Folder of the results; a second run with the same folder runs only what is missing.

    Jobs are identified by their settings: use another folder after changing an agent's code."""
    seeds: tuple[int, ...] = (0,)
    """Random seeds. For tabular solvers, starting points: 0 is the uniform policy."""
    evaluations: int = 10_000
    """Exact policy evaluations per job of a tabular solver."""
    total_timesteps: int = 300_000
    """Environment steps per job of a deep agent, rounded up to whole rollouts."""
    eval_episodes: int = EVALUATION_EPISODES
    """Evaluation episodes of a deep agent's final policy or of a controller, in each mode."""
    workers: int = 2
    """Worker processes, one thread each."""
    job_timeout: float | None = None
    """Seconds after which a job is ended and listed as failed; no limit if it is left out."""
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Hyperparameters that override the TOML files: npg_pd.step_size=1."""
    hyperparameters: Path | None = None
    """TOML file with tables [Agent.default] and [Agent."environment id"]; agents in it do not use
    their file in baselines/hyperparameters."""
    resume: bool = True
    """Go on with trainings from their newest checkpoints; --no-resume starts missing jobs anew."""
    diagnostics: bool = False
    """Measure gradients, noise, ranks and curvature of trainings as they go; see `diagnose`."""
    title: str = "Comparison of constrained agents"
    """Heading of the report."""

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["compare", "--envs", *self.envs]
        words += ["--agents", *self.agents, "--seeds", *map(str, self.seeds)]
        words += ["--evaluations", str(self.evaluations), "--workers", str(self.workers)]
        words += ["--total-timesteps", str(self.total_timesteps)]
        words += ["--eval-episodes", str(self.eval_episodes)]
        words += [] if self.job_timeout is None else ["--job-timeout", str(self.job_timeout)]
        words += ["--set", *self.overrides] if self.overrides else []
        file = self.hyperparameters
        words += [] if file is None else ["--hyperparameters", str(file)]
        words += ["--diagnostics"] if self.diagnostics else []
        words += ["--out", str(self.out), "--title", self.title]
        return shell_command("baselines", *words)


class Plan(NamedTuple):
    """The jobs of a comparison, and its environments with their tabular models, if any."""

    jobs: list[Job]
    models: dict[EnvironmentName, TabularCMDP | None]


def plan(options: CompareOptions, settings: Overrides | None = None) -> Plan:
    """Return the jobs of a comparison and the models of its environments.

    Args:
        options: of the comparison.
        settings: further hyperparameters by agent, which override all others.

    Raises:
        ValueError: for an unknown environment, agent or hyperparameter, a tabular solver on an
            environment without a tabular model, a controller on an environment that it does not
            support, or a number out of range.
    """
    _check_numbers(options)
    agents = list(dict.fromkeys(options.agents))
    kinds = {agent: KINDS[kind_of(agent)] for agent in agents}
    _check_distinct("agents", {agent: label_of(agent) for agent in agents})
    overrides = parse_overrides(options.overrides, agents)
    for agent, further in (settings or {}).items():
        overrides[agent] = {**overrides.get(agent, {}), **further}
    envs = list(dict.fromkeys(parse_environment_name(text) for text in options.envs))
    _check_distinct("envs", {env: str(env) for env in envs})
    file, named = options.hyperparameters, [env.table for env in envs]
    tables = {} if file is None else read_tables_by_agent(file, agents, named)
    models = {env: find_tabular_model(env) for env in envs}
    effort = Effort(options.evaluations, options.total_timesteps, options.eval_episodes)
    jobs: list[Job] = []
    for env in envs:
        chosen = {
            agent: hyperparameters_for(agent, env.table, overrides, tables=tables.get(agent))
            for agent in agents
        }
        limits = {agent: s["cost_limit"] for agent, s in chosen.items() if "cost_limit" in s}
        _check_common_limit(env, limits)
        for agent, own in chosen.items():
            kinds[agent].check(env, agent, own)
            for seed in dict.fromkeys(options.seeds):
                jobs.append(kinds[agent].planned(env, agent, seed, own, effort))
    return Plan(jobs, models)


def _check_distinct(name: str, labels: Mapping[Any, str]) -> None:
    """Raise ValueError if two names would have the same folder and the same rows in tables."""
    shown = list(labels.values())
    for label in shown:
        if shown.count(label) > 1:
            raise ValueError(
                f"{name} has two of the name {label!r}, which tables could not tell apart; rename "
                "one of the files, or leave one out"
            )


def _check_numbers(options: CompareOptions) -> None:
    for name, given in (("envs", options.envs), ("agents", options.agents)):
        if not given:
            raise ValueError(f"{name} is empty; pass at least one name")
    if not options.seeds or min(options.seeds) < 0 or max(options.seeds) > LARGEST_SEED:
        raise ValueError(
            f"seeds is {list(options.seeds)}; pass at least one, each >= 0 and <= {LARGEST_SEED}"
        )
    counts = {
        "evaluations": options.evaluations,
        "total-timesteps": options.total_timesteps,
        "eval-episodes": options.eval_episodes,
        "workers": options.workers,
    }
    check_count(**counts)
    if options.job_timeout is not None and not 0.0 < options.job_timeout < math.inf:
        raise ValueError(
            f"job-timeout is {options.job_timeout:g}; pass a number of seconds above 0, or leave "
            "it out for no limit"
        )


def _check_common_limit(env: EnvironmentName, limits: dict[str, object]) -> None:
    if len({repr(limit) for limit in limits.values()}) > 1:
        told = ", ".join(f"{agent}: {limit}" for agent, limit in limits.items())
        raise ValueError(
            f"cost_limit differs between the agents on {env} ({told}; None is the declared one); "
            "a comparison has one limit: set it for all of them"
        )
