"""The command `diagnose`: what is wrong with trainings, and pages that show what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from baselines.diagnostics.doctor import Diagnosis, findings
from baselines.diagnostics.measured_run import MeasuredRun, read_measured_run
from baselines.jobs.found_run import CONFIG, find_runs
from baselines.report.printable import plain


@dataclass(frozen=True)
class DiagnoseOptions:
    """Say what is wrong with trainings, from their logs and diagnostics; see docs/diagnostics.md.

    Nothing in the folders is executed.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs or of comparisons."""
    explain: bool = True
    """Name what is wrong, with the evidence and the setting to change; --no-explain is silent."""


def diagnose(options: DiagnoseOptions, console: Console) -> int:
    """Print the findings of each run.

    Returns:
        The exit code: 0 if nothing is wrong, 1 if something is.

    Raises:
        ValueError: if a folder holds no training, or a file is damaged.
    """
    if not options.runs:
        raise ValueError("no run is given; pass the folder of at least one training")
    runs = [run for folder in options.runs for run in measured_runs(folder)]
    found = [(run, findings(run)) for run in runs]
    if options.explain:
        for run, what in found:
            _explain(run, what, console)
    return 1 if any(what for _, what in found) else 0


def measured_runs(folder: Path) -> list[MeasuredRun]:
    """Return the training in a folder, or those of the comparison in it.

    Raises:
        ValueError: if there is none.
    """
    if (folder / "progress.csv").is_file() or (folder / CONFIG).is_file():
        return [read_measured_run(folder)]
    trained = [one.folder for one in find_runs(folder) if (one.folder / "progress.csv").is_file()]
    if not trained:
        raise ValueError(f"{folder} holds no training that has logged anything; pass another one")
    return [read_measured_run(one) for one in trained]


def _explain(run: MeasuredRun, what: list[Diagnosis], console: Console) -> None:
    console.print(f"[bold]{plain(run.name)}[/]", soft_wrap=True)
    if not what:
        console.print("nothing found", soft_wrap=True)
    for number, one in enumerate(what, start=1):
        console.print(f"{number}. [red]{plain(one.name)}[/]: {plain(one.what)}", soft_wrap=True)
        console.print(f"   evidence: {plain(one.evidence)}", soft_wrap=True, highlight=False)
        console.print(f"   try: {plain(one.advice)}", soft_wrap=True, highlight=False)
    if not run.measures:
        console.print(
            "   (no diagnostics: gradients, ranks and observations were not judged; train with "
            "--diagnostics)",
            soft_wrap=True,
            highlight=False,
        )
