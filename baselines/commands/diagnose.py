"""The command `diagnose`: what is wrong with trainings, and pages that show what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from baselines.diagnostics.doctor import findings
from baselines.diagnostics.measured_files import FOLDER
from baselines.diagnostics.measured_run import PROGRESS, read_measured_run
from baselines.jobs.folder_lock import check_folder
from baselines.jobs.found_run import CONFIG, find_runs
from baselines.report.printable import plain
from baselines.site.diagnosis_pages import Examined, write_pages


@dataclass(frozen=True)
class DiagnoseOptions:
    """Say what is wrong with trainings, from their logs and diagnostics; see docs/diagnostics.md.

    Nothing in the folders is executed.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs or of comparisons."""
    explain: bool = True
    """Name what is wrong, with the evidence and the setting to change; --no-explain is silent."""
    out: Path | None = None
    """Folder for pages with all curves and landscapes, which open without a network."""


def diagnose(options: DiagnoseOptions, console: Console) -> int:
    """Print the findings of each run, and write its pages.

    Returns:
        The exit code: 0 if nothing is wrong, 1 if something is.

    Raises:
        ValueError: if a folder holds no training, or a file is damaged.
        OSError: if a page cannot be written.
    """
    if not options.runs:
        raise ValueError("no run is given; pass the folder of at least one training")
    if options.out is not None:
        check_folder("--out", options.out)
    folders = [run for folder in options.runs for run in trained_in(folder)]
    runs = [read_measured_run(folder) for folder in folders]
    examined = [
        Examined(folder, run, findings(run)) for folder, run in zip(folders, runs, strict=True)
    ]
    if options.explain:
        for one in examined:
            _explain(one, console)
    if options.out is not None:
        first = write_pages(examined, options.out)
        console.print(f"pages: {plain(str(first))}", soft_wrap=True, highlight=False)
    return 1 if any(one.findings for one in examined) else 0


def trained_in(folder: Path) -> list[Path]:
    """Return the folder of a training, or the folders of those of a comparison.

    Raises:
        ValueError: if there is none.
    """
    if _is_run(folder) or (folder / CONFIG).is_file():
        return [folder]
    trained = [one.folder for one in find_runs(folder) if _is_run(one.folder)]
    if not trained:
        raise ValueError(f"{folder} holds no training that has logged anything; pass another one")
    return trained


def _is_run(folder: Path) -> bool:
    return (folder / PROGRESS).is_file() or (folder / FOLDER).is_dir()


def _explain(one: Examined, console: Console) -> None:
    console.print(f"[bold]{plain(one.run.name)}[/]", soft_wrap=True)
    if not one.findings:
        console.print("nothing found", soft_wrap=True)
    for number, found in enumerate(one.findings, start=1):
        console.print(f"{number}. [red]{plain(found.name)}[/]: {plain(found.what)}", soft_wrap=True)
        console.print(f"   evidence: {plain(found.evidence)}", soft_wrap=True, highlight=False)
        console.print(f"   try: {plain(found.advice)}", soft_wrap=True, highlight=False)
    if not one.run.measures:
        console.print(
            "   (no diagnostics: gradients, ranks and observations were not judged; train with "
            "--diagnostics)",
            soft_wrap=True,
            highlight=False,
        )
