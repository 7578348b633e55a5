"""How do variants of agents' settings compare, trained from the same seeds?

    python -m baselines.experiments.learning_study --study initial_noise

Trains agents on tasks from several seeds with every variant of a study, and prints a table per
task: return, cost, episode length and the share of feasible policies, with paired differences to
the first variant. Studies are tables of `learning/studies.toml`, which keeps the trials that the
agents' default settings were chosen by; `learning/studies.py` describes their format. A second run
with the same folder does only what is missing, and this project's agents go on from checkpoints.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tyro
from rich.console import Console

from baselines.atomic_files import write_atomically, write_json
from baselines.experiments.learning.studies import STUDIES, Study, chosen_study, read_studies
from baselines.experiments.learning.study_numbers import StudyNumbers
from baselines.experiments.learning.tables import study_tables
from baselines.experiments.learning.trainings import StudyTraining, planned, study_numbers
from baselines.experiments.trained.missing_runs import train_missing
from baselines.experiments.trained.study_options import check_writable, listing
from baselines.jobs.folder_lock import locked
from baselines.jobs.interruption import Interrupted, watched_signals
from baselines.report.printable import plain
from baselines.report.terminal_table import print_table, terminal_console
from baselines.shell_command import shell_command
from safe_envs.contract.argument_checks import check_count

SUMMARY = "summary.json"


@dataclass(frozen=True)
class StudyArguments:
    """Train the variants of studies from the same seeds, and print their tables."""

    study: tuple[str, ...] = ()
    """Names of studies; without any, they are listed."""
    seeds: tuple[int, ...] | None = None
    """Random seeds, instead of the studies' own."""
    timesteps: int | None = None
    """Environment steps per run, instead of the studies' own; rounded up to whole rollouts."""
    processes: int = 2
    """Worker processes, one thread each."""
    folder: Path = Path("runs/learning_study")
    """Folder of the runs, and STUDY/summary.json with every seed's numbers."""
    studies: Path = STUDIES
    """TOML file of the studies."""
    markdown: Path | None = None
    """File to write the tables to as well, in Markdown."""
    train: bool = True
    """--no-train prints the tables of the folder's summary.json files, without any training."""

    def command(self) -> str:
        """Return the shell command with these options."""
        words = ["--study", *self.study]
        words += ["--seeds", *map(str, self.seeds)] if self.seeds is not None else []
        words += ["--timesteps", str(self.timesteps)] if self.timesteps is not None else []
        words += ["--processes", str(self.processes), "--folder", str(self.folder)]
        words += ["--studies", str(self.studies)] if self.studies != STUDIES else []
        words += ["--markdown", str(self.markdown)] if self.markdown is not None else []
        words += [] if self.train else ["--no-train"]
        return shell_command("baselines.experiments.learning_study", *words)


def run(arguments: StudyArguments, console: Console) -> int:
    """Train what is missing, print and write the tables.

    Returns:
        The exit code: 0, 1 if a training failed, 130 if interrupted, 143 after SIGTERM.

    Raises:
        ValueError: for an unknown study, agent, environment or setting, a number out of range, a
            folder in use, or files that cannot be written; before any training starts.
    """
    check_count(processes=arguments.processes)
    known = read_studies(arguments.studies)
    if not arguments.study:
        console.print(listing(known), soft_wrap=True, markup=False, highlight=False)
        return 0
    chosen = [chosen_study(name, known, arguments.studies) for name in arguments.study]
    if arguments.markdown is not None:
        check_writable("--markdown", arguments.markdown)
    if not arguments.train:
        files = [arguments.folder / study.name / SUMMARY for study in chosen]
        show([StudyNumbers.from_file(file) for file in files], arguments.markdown, console)
        return 0
    changed = [_with_options(study, arguments) for study in chosen]
    plans = [planned(study, arguments.folder, arguments.command()) for study in changed]
    try:
        with locked(arguments.folder, arguments.command()), watched_signals():
            failures = train_missing(_once(plans), arguments.processes, console)
    except Interrupted as stop:
        console.print("interrupted; the same command does the rest")
        return stop.exit_code
    found = [study_numbers(*each, failures) for each in zip(changed, plans, strict=True)]
    for numbers in found:
        file = arguments.folder / numbers.study / SUMMARY
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(numbers))
    show(found, arguments.markdown, console)
    return 1 if failures else 0


def show(found: Sequence[StudyNumbers], markdown: Path | None, console: Console) -> None:
    """Print the tables of studies, and write them as Markdown if a file is given."""
    tables = [table for numbers in found for table in study_tables(numbers)]
    for table in tables:
        print_table(console, table.on_terminal())
    if markdown is not None:
        text = "\n".join(table.markdown() for table in tables)
        markdown.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(markdown, text.encode())


def _with_options(study: Study, arguments: StudyArguments) -> Study:
    """Return a study with the seeds and steps of the command line, if given."""
    seeds = study.seeds if arguments.seeds is None else arguments.seeds
    steps = study.total_timesteps if arguments.timesteps is None else arguments.timesteps
    return replace(study, seeds=seeds, total_timesteps=steps)


def _once(plans: Sequence[Sequence[StudyTraining]]) -> list[StudyTraining]:
    """Return the trainings of all studies; those that several have, once."""
    return [*{one.folder: one for trainings in plans for one in trainings}.values()]


def main(arguments: StudyArguments) -> int:
    """Run the experiment and return the exit code; 2 for a refused argument."""
    console = terminal_console()
    try:
        return run(arguments, console)
    except ValueError as error:
        console.print(f"[red]error:[/] {plain(str(error))}", soft_wrap=True)
        return 2


if __name__ == "__main__":
    sys.exit(
        main(
            tyro.cli(
                StudyArguments,
                prog=shell_command("baselines.experiments.learning_study"),
                description=f"{StudyArguments.__doc__}\n\n{listing(read_studies(STUDIES))}",
            )
        )
    )
