"""What do constraint layers bring a network, over a soft penalty and one repair afterwards?

    python -m baselines.experiments.constraint_layers --study small

Trains networks on families of constrained programs with the variants of a study, and prints a
table: gap to the optimum, violation, share of feasible instances, time. Studies are tables of
`layers/studies.toml`. A second run with the same folder trains only what is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_atomically
from baselines.diagnostics.measured_files import read_table
from baselines.experiments.layers.figures import draw_ranks, draw_study
from baselines.experiments.layers.runs import diagnostics_of, stored_result, train_settings
from baselines.experiments.layers.studies import STUDIES, LayerStudy, read_layer_studies
from baselines.experiments.layers.tables import layers_table
from baselines.experiments.layers.training import TrainingResult
from baselines.experiments.trained.study_options import check_writable, listing
from baselines.jobs.folder_lock import locked
from baselines.jobs.interruption import Interrupted, watched_signals
from baselines.report.printable import plain
from baselines.report.terminal_table import print_table, terminal_console
from baselines.shell_command import shell_command
from safe_envs.contract.argument_checks import check_count, check_whole, unknown_name

MODULE = "baselines.experiments.constraint_layers"


@dataclass(frozen=True)
class ConstraintLayersArguments:
    """Train the variants of studies, and print their tables."""

    study: tuple[str, ...] = ()
    """Names of studies; without any, they are listed."""
    seeds: tuple[int, ...] | None = None
    """Seeds of the networks, instead of the studies' own."""
    steps: int | None = None
    """Steps of Adam, instead of the studies' own."""
    processes: int = 2
    """Worker processes, one thread each."""
    folder: Path = Path("runs/constraint_layers")
    """Folder of one JSON file per training, and STUDY.png."""
    studies: Path = STUDIES
    """TOML file of the studies."""
    diagnostics: int = 0
    """So many measurements of gradients, noise and ranks in each training, for the command
    `diagnose`, and a figure of them, STUDY_ranks.png; 0 for none."""
    markdown: Path | None = None
    """File to write the tables to as well, in Markdown."""


def run(arguments: ConstraintLayersArguments, console: Console) -> int:
    """Train what is missing, print and write the tables.

    Returns:
        The exit code: 0, 1 if a training failed, 130 if interrupted, 143 after SIGTERM.

    Raises:
        ValueError: for an unknown study, a setting out of range, or a folder in use.
    """
    check_count(processes=arguments.processes)
    check_whole("diagnostics", arguments.diagnostics, low=0)
    known = read_layer_studies(arguments.studies)
    if not arguments.study:
        console.print(listing(known), soft_wrap=True, markup=False, highlight=False)
        return 0
    for name in arguments.study:
        if name not in known:
            raise ValueError(unknown_name("study", name, known))
    if arguments.markdown is not None:
        check_writable("--markdown", arguments.markdown)
    chosen = [_with_options(known[name], arguments) for name in arguments.study]
    wanted = {study.name: study.settings() for study in chosen}
    every = [one for study in wanted.values() for group in study.values() for one in group]
    command = shell_command(MODULE, *sys.argv[1:])
    try:
        with locked(arguments.folder, command), watched_signals():
            failures = train_settings(
                every, arguments.folder, arguments.processes, console, arguments.diagnostics
            )
    except Interrupted as stop:
        console.print("interrupted; the same command does the rest")
        return stop.exit_code
    tables = []
    for study in chosen:
        results = {
            variant: [stored_result(one, arguments.folder) for one in group if one not in failures]
            for variant, group in wanted[study.name].items()
        }
        title = f"{study.name}: {study.question}"
        print_table(console, layers_table(title, results))  # which fits it to the console
        tables.append(layers_table(title, results))
        if any(results.values()):
            _draw(study.name, results, arguments)
    if arguments.diagnostics:
        folder = diagnostics_of(every[0], arguments.folder).parent
        console.print(f"diagnostics: {folder}", soft_wrap=True, markup=False, highlight=False)
    if arguments.markdown is not None:
        _write(tables, arguments.markdown)
    return 1 if failures else 0


def _draw(
    name: str,
    results: Mapping[str, Sequence[TrainingResult]],
    arguments: ConstraintLayersArguments,
) -> None:
    """Write the figures of a study."""
    draw_study(results, arguments.folder / f"{name}.png")
    if arguments.diagnostics:
        measured = {
            variant: [read_table(diagnostics_of(one.setting, arguments.folder)) for one in group]
            for variant, group in results.items()
        }
        draw_ranks(measured, arguments.folder / f"{name}_ranks.png")


def _write(tables: Sequence[Table], file: Path) -> None:
    text = StringIO()
    for table in tables:
        Console(width=10_000, file=text).print(table)
    lines = [line.strip() for line in text.getvalue().splitlines()]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, ("\n".join(lines) + "\n").encode())


def _with_options(study: LayerStudy, arguments: ConstraintLayersArguments) -> LayerStudy:
    """Return a study with the seeds and steps of the command line, if given."""
    if arguments.seeds is not None:
        study = replace(study, seeds=arguments.seeds)
    if arguments.steps is not None:
        check_count(steps=arguments.steps)
        variants = {k: {**v, "steps": arguments.steps} for k, v in study.variants.items()}
        study = replace(study, variants=variants)
    return study


def main(arguments: ConstraintLayersArguments) -> int:
    """Run the experiment and return the exit code; 2 for a refused argument."""
    console = terminal_console()
    try:
        return run(arguments, console)
    except ValueError as error:
        console.print(f"[red]error:[/] {plain(str(error))}", soft_wrap=True)
        return 2


if __name__ == "__main__":
    sys.exit(main(tyro.cli(ConstraintLayersArguments, prog=shell_command(MODULE))))
