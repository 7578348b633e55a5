"""The command `compare`: every agent on every environment from every seed, and a report."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agents.tabular.linear_program import Optimum, linear_program
from baselines.agent_names import solver_named
from baselines.engines import run_in_processes
from baselines.environment_names import (
    EnvironmentName,
    parse_environment_name,
    tabular_model_of,
)
from baselines.hyperparameter_files import hyperparameters_for, parse_overrides
from baselines.job import Job, Outcome
from baselines.plots import draw_convergence
from baselines.report import ProblemSection, report_html
from baselines.results_table import csv_text, summarise, terminal_table
from baselines.run_folder import (
    is_done,
    read_outcome,
    read_trace,
    write_atomically,
    write_error,
)
from baselines.run_job import run_job
from safe_envs.tabular_model import TabularCMDP


@dataclass(frozen=True)
class CompareOptions:
    """Run agents on environments, keep what is done, and write tables, plots and a report."""

    envs: tuple[str, ...]
    """Gymnasium ids; arguments as a query string: "Safe/RandomCMDP-v0?constraints=2"."""
    agents: tuple[str, ...]
    """Names of agents, for example pqa_alm npg_pd."""
    out: Path
    """Folder of the results; a second run with the same folder does only what is missing.

    Jobs are compared by their settings: take another folder after a change of an agent's code."""
    seeds: tuple[int, ...] = (0,)
    """Starting points: 0 is the uniform policy, others are random."""
    evaluations: int = 10_000
    """Exact policy evaluations per job."""
    workers: int = 2
    """Worker processes, one BLAS thread each."""
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Hyperparameters that win over the TOML files: npg_pd.step_size=1."""
    title: str = "Comparison of constrained agents"
    """Heading of the report."""

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["python", "-m", "baselines", "compare", "--envs", *self.envs]
        words += ["--agents", *self.agents, "--seeds", *map(str, self.seeds)]
        words += ["--evaluations", str(self.evaluations), "--workers", str(self.workers)]
        words += ["--set", *self.overrides] if self.overrides else []
        words += ["--out", str(self.out), "--title", self.title]
        return shlex.join(words)


def compare(options: CompareOptions, console: Console) -> int:
    """Run what is missing, write results.csv, plots and report.html, and print the tables.

    Returns:
        The exit code: 0, 1 if a job failed, 130 if interrupted.

    Raises:
        ValueError: for an unknown name or setting, before any job starts.
    """
    jobs, models = plan(options)
    missing = [job for job in jobs if not is_done(job.folder(options.out), job)]
    try:
        _run(missing, options, console)
    except KeyboardInterrupt:
        console.print(
            f"[yellow]interrupted[/]; finished jobs are kept in {escape(str(options.out))}. "
            "The same command does the rest:",
        )
        console.print(escape(options.command()), soft_wrap=True)
        return 130
    outcomes = [read_outcome(job.folder(options.out), job) for job in jobs]
    failed = [outcome for outcome in outcomes if outcome.result is None]
    write_outputs(options, models, outcomes, console)
    console.print(f"{len(jobs)} jobs: ran {len(missing)}, kept {len(jobs) - len(missing)}")
    for outcome in failed:
        job = outcome.job
        console.print(
            f"[red]failed[/] {escape(f'{job.agent} on {job.env}, seed {job.seed}')}: "
            f"{escape(outcome.reason)}",
            soft_wrap=True,
        )
    console.print(f"report: {escape(str(options.out / 'report.html'))}", soft_wrap=True)
    return 1 if failed else 0


def plan(options: CompareOptions) -> tuple[list[Job], dict[EnvironmentName, TabularCMDP]]:
    """Return the jobs of a comparison and the models of its environments.

    Raises:
        ValueError: for an unknown environment, agent or hyperparameter, an environment without a
            tabular model, or a number out of range.
    """
    for name, given in (("envs", options.envs), ("agents", options.agents)):
        if not given:
            raise ValueError(f"{name} is empty; pass at least one name")
    if not options.seeds or min(options.seeds) < 0:
        raise ValueError(f"seeds is {list(options.seeds)}; pass at least one, each >= 0")
    for name, count in (("evaluations", options.evaluations), ("workers", options.workers)):
        if count < 1:
            raise ValueError(f"{name} is {count}; pass a whole number >= 1")
    for agent in options.agents:
        solver_named(agent)
    overrides = parse_overrides(options.overrides)
    envs = list(dict.fromkeys(parse_environment_name(text) for text in options.envs))
    models = {env: tabular_model_of(env) for env in envs}
    jobs = [
        Job(env, agent, seed, options.evaluations, hyperparameters_for(agent, env.id, overrides))
        for env in envs
        for agent in dict.fromkeys(options.agents)
        for seed in dict.fromkeys(options.seeds)
    ]
    return jobs, models


def write_outputs(
    options: CompareOptions,
    models: dict[EnvironmentName, TabularCMDP],
    outcomes: Sequence[Outcome],
    console: Console,
) -> None:
    """Write results.csv, the plots and report.html, and print one table per environment."""
    (options.out / "plots").mkdir(parents=True, exist_ok=True)
    sections = []
    for env, cmdp in models.items():
        own = [outcome for outcome in outcomes if outcome.job.env == env]
        section = _section(options.out, env, cmdp, own)
        sections.append(section)
        optimal_value = section.optimum.value if section.optimum else None
        console.print(terminal_table(section.name, optimal_value, section.rows))
    write_atomically(options.out / "results.csv", csv_text(outcomes).encode())
    html = report_html(options.title, options.command(), sections)
    write_atomically(options.out / "report.html", html.encode())


def _run(missing: Sequence[Job], options: CompareOptions, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("jobs", total=len(missing))
        work = [_Work(job, options.out) for job in missing]
        for done, reason in run_in_processes(_run_work, work, options.workers):
            if reason:
                with contextlib.suppress(OSError):  # a full disk: the report says so as well
                    write_error(done.job.folder(options.out), reason)
            progress.advance(task)


@dataclass(frozen=True)
class _Work:
    job: Job
    out: Path


def _run_work(work: _Work) -> None:
    run_job(work.job, work.out)


def _section(
    out: Path, env: EnvironmentName, cmdp: TabularCMDP, outcomes: Sequence[Outcome]
) -> ProblemSection:
    optimum, reason = _optimum(cmdp)
    finished = [outcome for outcome in outcomes if outcome.result is not None]
    traces = {
        agent: [read_trace(o.job.folder(out)) for o in finished if o.job.agent == agent]
        for agent in dict.fromkeys(outcome.job.agent for outcome in finished)
    }
    stem = out / "plots" / env.slug
    if optimum is not None and traces:
        draw_convergence(str(env), traces, optimum.value, stem)
    return ProblemSection(
        name=str(env),
        cmdp=cmdp,
        uniform=cmdp.evaluate(cmdp.uniform_policy()),
        optimum=optimum,
        no_optimum=reason,
        plot=stem.with_name(f"{stem.name}.svg") if optimum is not None and traces else None,
        rows=summarise(outcomes),
        outcomes=outcomes,
    )


def _optimum(cmdp: TabularCMDP) -> tuple[Optimum | None, str]:
    try:
        return linear_program(cmdp), ""
    except ValueError as error:
        return None, str(error)
