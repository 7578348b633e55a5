"""Pages of trainings: one that compares them, and one for each with its curves and landscapes.

They are files that open without a server and without a network.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from baselines.atomic_files import write_atomically
from baselines.diagnostics.doctor import Diagnosis
from baselines.diagnostics.measured_files import (
    FOLDER,
    PATH,
    moment_files,
    read_moment,
    step_of,
)
from baselines.diagnostics.measured_run import MeasuredRun
from baselines.site.shared_files import PAGE_POLICY, STATIC, script_json
from baselines.site.training_curves import CurveChart, charts_of

TEMPLATES = Path(__file__).parent / "templates"
DIGITS = 5  # of numbers in the pages' data
SHOWN_ROWS = 50  # of a chart's table


class Examined(NamedTuple):
    """A training, and what the doctor says of it."""

    folder: Path
    run: MeasuredRun
    findings: Sequence[Diagnosis]


def write_pages(examined: Sequence[Examined], out: Path) -> Path:
    """Write the pages and return the first.

    Args:
        examined: at least one training.
        out: folder; files of the same names are replaced.

    Raises:
        ValueError: if an array of a run is damaged.
        OSError: if a file cannot be written.
    """
    (out / "static" / "vendor").mkdir(parents=True, exist_ok=True)
    for file in STATIC.rglob("*"):
        if file.is_file():
            shutil.copyfile(file, out / "static" / file.relative_to(STATIC))
    pages = {f"run_{place}.html": one for place, one in enumerate(examined, start=1)}
    charts = {path: charts_of(one.run) for path, one in pages.items()}
    for path, one in pages.items():
        data = {"charts": [_plain(chart) for chart in charts[path]], "landscapes": _slices(one)}
        page = _fill("run", one=one, charts=charts[path], data=data, pages=pages, path=path)
        write_atomically(out / path, page.encode())
    shown = {path: [_plain(chart) for chart in each] for path, each in charts.items()}
    runs = [
        {"name": one.run.name, "path": path, "charts": shown[path]} for path, one in pages.items()
    ]
    titles = {chart.id: chart for each in charts.values() for chart in each}
    first = out / "index.html"
    page = _fill("index", pages=pages, titles=titles, data={"runs": runs})
    write_atomically(first, page.encode())
    return first


def _slices(one: Examined) -> list[dict[str, Any]]:
    """Return the landscapes of a run, and the plane of its path, as plain numbers."""
    found = []
    for file in moment_files(one.folder):
        arrays = read_moment(file)
        if "landscape_values" in arrays:
            given = {
                name: arrays[f"landscape_{name}"] for name in ("names", "alphas", "betas", "values")
            }
            found.append(_slice(f"at step {step_of(file):,}", given, None))
    path = one.folder / FOLDER / PATH
    if path.exists():
        arrays = read_moment(path)
        found.append(_slice("along the training's path", arrays, arrays["places"]))
    return found


def _slice(title: str, arrays: dict[str, np.ndarray], places: np.ndarray | None) -> dict[str, Any]:
    return {
        "title": title,
        "names": arrays["names"].tolist(),
        "alphas": _rounded(arrays["alphas"]),
        "betas": _rounded(arrays["betas"]),
        "values": [[_rounded(row) for row in part] for part in arrays["values"]],
        "places": [] if places is None else [_rounded(place) for place in places],
    }


def _plain(chart: CurveChart) -> dict[str, Any]:
    return {
        "id": chart.id,
        "title": chart.title,
        "log": chart.log,
        "lines": [[float(value), name] for value, name in chart.lines],
        "curves": [
            {"name": one.name, "x": _rounded(one.steps), "y": _rounded(one.values)}
            for one in chart.curves
        ],
    }


def _rounded(values: np.ndarray) -> list[float | None]:
    """Return numbers with the digits that a drawing can show, None for those that are missing."""
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def rows_of(chart: CurveChart) -> list[list[str]]:
    """Return a chart's numbers as a table: the steps, and each curve where it has a number."""
    steps = np.unique(np.concatenate([one.steps for one in chart.curves]))
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, SHOWN_ROWS).round().astype(int))]
    known = [dict(zip(one.steps, one.values, strict=True)) for one in chart.curves]
    return [
        [f"{step:,.0f}", *(f"{one[step]:.4g}" if step in one else "" for one in known)]
        for step in chosen
    ]


def _fill(template: str, **shown: Any) -> str:
    return _environment().get_template(f"{template}.html.jinja").render(**shown)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.globals.update(policy=PAGE_POLICY, script_json=script_json, rows_of=rows_of)
    return made
