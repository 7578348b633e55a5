"""What a comparison leaves: tables on the terminal, CSV files, plots and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from baselines.atomic_files import write_atomically
from baselines.jobs.job import AnyOutcome, SectionName
from baselines.names.environments import EnvironmentName
from baselines.report.episodes_csv import episodes_csv
from baselines.report.episodes_section import episodes_section
from baselines.report.html import EnvironmentPart, Section, report_html
from baselines.report.solver_section import solver_csv, solver_section
from baselines.report.terminal_table import print_table
from safe_envs.tabular.model import TabularCMDP


class SectionKind(NamedTuple):
    """How outcomes of one kind are shown."""

    csv_file: str
    csv_text: Callable[[Sequence[AnyOutcome]], str]
    section: Callable[
        [Path, EnvironmentName, TabularCMDP | None, Sequence[AnyOutcome], Sequence[AnyOutcome]],
        Section | None,
    ]


SECTIONS: dict[SectionName, SectionKind] = {
    "solvers": SectionKind("results.csv", solver_csv, solver_section),
    "episodes": SectionKind("deep_results.csv", episodes_csv, episodes_section),
}


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
    groups = {name: [o for o in outcomes if o.job.section == name] for name in SECTIONS}
    parts = []
    for env, cmdp in models.items():
        sections = []
        for name, kind in SECTIONS.items():
            own = [outcome for outcome in groups[name] if outcome.job.env == env]
            section = kind.section(out, env, cmdp, own, groups[name])
            if section is not None:
                sections.append(section)
                for table in section.tables():
                    print_table(console, table)
        parts.append(EnvironmentPart(str(env), sections))
    for name, kind in SECTIONS.items():
        if groups[name]:
            write_atomically(out / kind.csv_file, kind.csv_text(groups[name]).encode())
    write_atomically(out / "report.html", report_html(title, command, parts).encode())
