"""What a comparison leaves: tables on the terminal, CSV files, plots and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from agents.tabular.linear_program import Optimum, linear_program
from baselines.atomic_files import write_atomically
from baselines.jobs.job import Job, TabularOutcome
from baselines.jobs.run_folder import read_outcome, read_trace, read_training_outcome
from baselines.jobs.training_job import TrainingJob, TrainingOutcome
from baselines.names.environments import EnvironmentName
from baselines.report.html import ProblemSection, ReportSection, report_html
from baselines.report.plots import draw_convergence
from baselines.report.results_table import csv_text, summarise, terminal_table
from baselines.report.sections import training_section
from baselines.report.training_table import training_csv, training_tables
from safe_envs.tabular.model import TabularCMDP

AnyOutcome = TabularOutcome | TrainingOutcome


def read_any_outcome(folder: Path, job: Job | TrainingJob) -> AnyOutcome:
    """Return the result of a job of either kind, or why it has none."""
    if isinstance(job, TrainingJob):
        return read_training_outcome(folder, job)
    return read_outcome(folder, job)


def write_outputs(
    out: Path,
    title: str,
    command: str,
    models: Mapping[EnvironmentName, TabularCMDP | None],
    outcomes: Sequence[AnyOutcome],
    console: Console,
) -> None:
    """Write the CSV files, the plots and report.html, and print the tables per environment.

    Args:
        out: folder of the comparison.
        title: heading of the report.
        command: the shell command that makes this comparison.
        models: the environments in their order, with their tabular models.
        outcomes: of all jobs.
        console: for the tables.
    """
    (out / "plots").mkdir(parents=True, exist_ok=True)
    tabular: list[TabularOutcome] = [o for o in outcomes if isinstance(o.job, Job)]
    deep: list[TrainingOutcome] = [o for o in outcomes if isinstance(o.job, TrainingJob)]
    sections = []
    for env, cmdp in models.items():
        own = [outcome for outcome in tabular if outcome.job.env == env]
        trained = [outcome for outcome in deep if outcome.job.env == env]
        problem = None if cmdp is None else _problem(out, env, cmdp, own)
        training = training_section(out, env, trained) if trained else None
        sections.append(ReportSection(str(env), problem, training))
        if problem is not None and own:
            value = problem.optimum.value if problem.optimum else None
            console.print(terminal_table(str(env), value, problem.rows))
        if training is not None:
            console.print(*training_tables(training), sep="\n")
    if tabular:
        write_atomically(out / "results.csv", csv_text(tabular).encode())
    if deep:
        write_atomically(out / "deep_results.csv", training_csv(deep).encode())
    write_atomically(out / "report.html", report_html(title, command, sections).encode())


def _problem(
    out: Path, env: EnvironmentName, cmdp: TabularCMDP, outcomes: Sequence[TabularOutcome]
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
