"""Learning curves of any runs side by side: a row per environment, a column per quantity."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.jobs.found_run import PROGRESS, FoundRun
from baselines.jobs.job import Category
from baselines.jobs.run_folder import PROVENANCE
from baselines.measures.learning_curve import EPISODE_LENGTH, TIMESTEPS, FinalPolicy, LearningCurve
from baselines.names.environments import check_import
from baselines.report.episodes_section import logged_curve
from baselines.report.learning_curve_plots import (
    LEGEND,
    PANEL_SIZE,
    across_panels,
    draw_panel,
    limit_names,
    named_sum,
)
from baselines.report.printable import printable
from baselines.report.style import (
    AGENT_STYLES,
    LIMIT_COLOR,
    LIMIT_DASHES,
    AgentStyle,
    other_styles,
    styles_of,
)

XAxis = Literal["timesteps", "updates"]
# of config.json: what follows from the seed, and what does not affect a curve
NO_SETTINGS = ("env", "seed", "evaluation_seed", "evaluation_episodes", *PROVENANCE)
NO_CURVE: dict[Category, str] = {
    "solver": "does not train in episodes",
    "controller": "does not train in episodes",
    "finished policy": "is a finished policy (ONNX), not trained here",
}
X_COLUMNS: dict[XAxis, str] = {"timesteps": TIMESTEPS, "updates": "time/iterations"}


@dataclass(frozen=True)
class RunCurve:
    """The learning curve of a run, and what its environment declares."""

    env: str
    curve: LearningCurve
    names: tuple[str, ...]  # of the m constraints
    limits: tuple[float, ...]
    discounts: tuple[float, ...]  # of the return and of each cost, (1 + m,)
    settings: Mapping[str, Any]  # that determine the run, without its seed
    folder: Path


def read_run_curve(found: FoundRun, x: XAxis = "timesteps", import_env: bool = False) -> RunCurve:
    """Return the curve of a run, also of one that is still in progress or has failed.

    Args:
        found: the run.
        x: what the curve goes over.
        import_env: whether the module of an environment "module:Id" may be imported, which a run
            without a result needs.

    Raises:
        ValueError: if it has no curve; the message names the folder.
    """
    job, folder = found.job, found.folder
    if job is None:
        raise ValueError(f"{folder} has no learning curve: {found.reason}")
    if PROGRESS not in job.record.files:
        raise ValueError(
            f"{folder} has no learning curve: {job.agent} {NO_CURVE[job.category]}; pass runs of "
            "deep agents"
        )
    if not (folder / PROGRESS).exists():
        raise ValueError(f"{folder} has no learning curve yet: no {PROGRESS} ({found.state})")
    try:
        if not _has_episodes(folder / PROGRESS):
            raise ValueError(f"no episode has ended in its {PROGRESS}")
        names, limits, discounts = _declared(found, import_env)
        curve = logged_curve(folder, job.agent, job.seed, names, discounts)
        if x != "timesteps":
            over = _over(folder / PROGRESS, curve.timesteps, X_COLUMNS[x])
            curve = replace(curve, timesteps=over)
    except (ValueError, OSError, csv.Error, KeyError) as error:
        raise ValueError(f"{folder} has no learning curve: {error}") from error
    settings = {k: v for k, v in found.config.items() if k not in NO_SETTINGS}
    curve, names = replace(curve, agent=printable(curve.agent)), tuple(map(printable, names))
    return RunCurve(printable(job.env), curve, names, limits, discounts, settings, folder)


def draw_run_curves(runs: Sequence[RunCurve], x: XAxis = "timesteps") -> Figure:
    """Return a figure with a row per environment: return, each cost with its limit, length.

    Runs that differ in more than their seed are never averaged: they are drawn apart, and named by
    the settings in which they differ.

    Args:
        runs: at least one.
        x: what their curves go over.
    """
    rows = _rows(runs)
    columns = max(2 + len(row[0].names) for row in rows)
    names = [name for row in rows for name in labels_of(row).names]
    names += limit_names(limit for run in runs for limit in run.limits)
    styles = styles_of(sorted(run.curve.agent for run in runs))
    height = PANEL_SIZE[1] * len(rows) + 1.0
    with matplotlib.rc_context({"font.size": 9.5, "text.parse_math": False}):
        across = across_panels(columns, names)
        width = across.width
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=across.left,
            right=across.right,
            bottom=0.5 / height,
            top=1.0 - 1.1 / height,
            wspace=across.wspace,
            hspace=0.55,
        )
        panels = figure.subplots(len(rows), columns, squeeze=False)
        figure.text(0.12 / width, 1 - 0.3 / height, LEGEND, fontsize=8.5, color="#555555")
        for row, axes in zip(rows, panels, strict=True):
            _draw_row(row, list(axes), x, styles)
            top, key = axes[0].get_position().y1, labels_of(row).key
            figure.text(
                x=0.12 / width,
                y=top + (0.52 if key else 0.33) / height,
                s=row[0].env,
                fontsize=11.5,
                fontweight="bold",
            )
            figure.text(0.12 / width, top + 0.33 / height, key, fontsize=8.5, color="#555555")
    return figure


class Labels(NamedTuple):
    """The names of lines in a panel."""

    names: list[str]  # of each run; runs that differ only in their seed share one
    key: str  # what the letters in the names mean; "" without any


def labels_of(runs: Sequence[RunCurve]) -> Labels:
    """Return the names of the lines of runs on one environment.

    Runs of one agent with different settings get letters. Seeds that share no timestep cannot be
    averaged, and get a name each.
    """
    names, key = [], {}
    for run in runs:
        kin = [other for other in runs if other.curve.agent == run.curve.agent]
        groups = list(dict.fromkeys(json.dumps(other.settings, sort_keys=True) for other in kin))
        name = run.curve.agent
        if len(groups) > 1:
            name += f" {letter(groups.index(json.dumps(run.settings, sort_keys=True)))}"
            different = _differing([_flat(other.settings) for other in kin])
            own = _flat(run.settings)
            key[name] = ", ".join(f"{setting}={own.get(setting)}" for setting in different)
        names.append(name)
    apart = [
        name
        if _overlap([other for other, its in zip(runs, names, strict=True) if its == name])
        else f"{name}, seed {run.curve.seed}"
        for run, name in zip(runs, names, strict=True)
    ]
    return Labels(apart, "; ".join(f"{name}: {printable(told)}" for name, told in key.items()))


def letter(index: int) -> str:
    """Return a, b, ..., z, a1, b1, ..."""
    return chr(ord("a") + index % 26) + (str(index // 26) if index >= 26 else "")


def _declared(
    found: FoundRun, import_env: bool
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Return names and limits of the constraints, and the discounts of return and costs."""
    result, job = found.result, found.job
    if result is not None:
        discounts = (result.reward_discount, *result.cost_discounts)
        return tuple(result.constraint_names), tuple(result.limits), discounts
    assert job is not None, "checked by the caller"
    check_import(found.folder, job.env, import_env)
    from baselines.jobs.settings import contract_in_force  # PyTorch

    contract = contract_in_force(job.env, found.config["hyperparameters"].get("cost_limit"))
    specs = contract.constraints
    return (
        tuple(one.name for one in specs),
        tuple(one.limit for one in specs),
        (contract.reward_discount, *(one.discount for one in specs)),
    )


def _has_episodes(file: Path) -> bool:
    """Return whether the columns of episodes exist, which the first episode that ends adds."""
    with file.open(newline="", encoding="utf-8") as rows:
        return EPISODE_LENGTH in next(csv.reader(rows), [])


def _over(file: Path, timesteps: np.ndarray, column: str) -> np.ndarray:
    """Return another column of progress.csv at the rows of these timesteps."""
    with file.open(newline="", encoding="utf-8") as rows:
        found = {
            float(row[TIMESTEPS]): float(row[column])
            for row in csv.DictReader(rows)
            if row.get(TIMESTEPS) and row.get(column)
        }
    missing = [timestep for timestep in timesteps.tolist() if timestep not in found]
    if missing:
        raise ValueError(f"{file} has no {column} at timestep {missing[0]:g}; plot over timesteps")
    return np.array([found[timestep] for timestep in timesteps.tolist()])


def _rows(runs: Sequence[RunCurve]) -> list[list[RunCurve]]:
    """Return the runs by environment, constraints and discounts."""
    rows: dict[tuple[Any, ...], list[RunCurve]] = {}
    for run in runs:
        rows.setdefault((run.env, run.names, run.discounts), []).append(run)
    return list(rows.values())


def _draw_row(
    row: Sequence[RunCurve], panels: list[Axes], x: XAxis, agents: Mapping[str, AgentStyle]
) -> None:
    labels = labels_of(row).names
    curves = [replace(run.curve, agent=label) for run, label in zip(row, labels, strict=True)]
    first, styles = row[0], _styles(row, labels, agents)
    draw = partial(draw_panel, curves=curves, styles=styles, x_label=x)
    draw(panels[0], named_sum("episode return", first.discounts[0]), quantity=_return)
    for i, name in enumerate(first.names):
        limits = sorted({run.limits[i] for run in row})
        title = named_sum(f"episode cost: {name}", first.discounts[1 + i])
        draw(panels[1 + i], title, quantity=partial(_cost, constraint=i), limit=limits[-1])
        for limit in limits[:-1]:  # of runs with another cost_limit
            panels[1 + i].axhline(
                limit, color=LIMIT_COLOR, linestyle=LIMIT_DASHES, linewidth=1.1, label="limit"
            )
            panels[1 + i].text(
                0.01, limit, f" limit {limit:g}", color=LIMIT_COLOR, fontsize=8.5, va="bottom"
            )
    draw(panels[1 + len(first.names)], "episode length", quantity=_length)
    for unused in panels[2 + len(first.names) :]:
        unused.set_visible(False)


def _return(curve: LearningCurve | FinalPolicy) -> Any:
    return curve.episode_return


def _cost(curve: LearningCurve | FinalPolicy, constraint: int) -> Any:
    return curve.episode_cost[..., constraint]


def _length(curve: LearningCurve | FinalPolicy) -> Any:
    return curve.episode_length


def _styles(
    row: Sequence[RunCurve], labels: Sequence[str], agents: Mapping[str, AgentStyle]
) -> dict[str, AgentStyle]:
    """Return a style per label; the first of an agent has the agent's own, the others a free one.

    Args:
        row: runs.
        labels: of the runs.
        agents: styles of the agents in the figure.
    """
    styles: dict[str, AgentStyle] = {}
    taken = {*agents.values()}
    named = [style for style in reversed(AGENT_STYLES.values()) if style not in taken]
    free = chain(named, (style for style in other_styles() if style not in taken))
    for run, label in zip(row, labels, strict=True):
        if label not in styles:
            own = agents[run.curve.agent]
            styles[label] = own if own not in styles.values() else next(free)
    return styles


def _overlap(runs: Sequence[RunCurve]) -> bool:
    """Return whether the curves have timesteps in common."""
    steps = [run.curve.timesteps for run in runs]
    return max(t[0] for t in steps) <= min(t[-1] for t in steps)


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the settings that are not the same in all."""
    names = sorted({name for one in settings for name in one})
    return [name for name in names if len({repr(one.get(name)) for one in settings}) > 1]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the hyperparameters beside the others."""
    own = settings.get("hyperparameters")
    others = {key: value for key, value in settings.items() if key != "hyperparameters"}
    return {**others, **(own if isinstance(own, dict) else {})}
