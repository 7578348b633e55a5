"""The command `plot`: learning curves of any runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from baselines.jobs.found_run import find_runs
from baselines.report.plots import write_figure
from baselines.report.printable import plain
from baselines.report.run_curves import RunCurve, XAxis, draw_run_curves, read_run_curve

SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class PlotOptions:
    """Draw learning curves: return, each cost with its limit, and episode length.

    Environments have a row each. Runs of one agent that differ only in their seeds get a mean and
    a band. Runs in progress are drawn as far as they are.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, or of comparisons, whose runs are all drawn."""
    out: Path = Path("learning_curves.png")
    """File to write: .png, .svg or .pdf."""
    x: XAxis = "timesteps"
    """Horizontal axis."""
    import_env: bool = False
    """Import the module of an environment "module:Id" of a run in progress, which runs its code."""


def plot(options: PlotOptions, console: Console) -> int:
    """Draw the curves, and name the runs that have none.

    Returns:
        The exit code, 0.

    Raises:
        ValueError: if a folder holds no run, no run has a curve, or the file cannot be written.
    """
    if options.out.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{options.out} ends with {options.out.suffix or 'no suffix'!r}; pass a name that ends "
            f"with one of {', '.join(SUFFIXES)}"
        )
    if not options.runs:
        raise ValueError("no run was named; pass at least one folder of a run or a comparison")
    curves, refused = _curves(options)
    if not curves:
        raise ValueError("; ".join(refused))
    figure = draw_run_curves(curves, options.x)
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_figure(figure, options.out)
    except OSError as error:
        raise ValueError(f"{options.out} cannot be written: {error}") from error
    for reason in refused:
        console.print(f"[yellow]left out[/] {plain(reason)}", soft_wrap=True)
    noun = "curve" if len(curves) == 1 else "curves"
    console.print(f"{len(curves)} {noun}: {plain(str(options.out))}", soft_wrap=True)
    return 0


def _curves(options: PlotOptions) -> tuple[list[RunCurve], list[str]]:
    """Return the curves, and why other runs have none.

    Raises:
        ValueError: if a folder holds no run.
    """
    curves: dict[Path, RunCurve] = {}
    refused: dict[Path, str] = {}
    for folder in options.runs:
        for found in find_runs(folder):
            try:
                curve = read_run_curve(found, options.x, options.import_env)
                curves.setdefault(found.folder.resolve(), curve)
            except ValueError as error:
                refused[found.folder.resolve()] = str(error)
    return list(curves.values()), list(refused.values())
