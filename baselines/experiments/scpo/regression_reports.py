"""The table and the figures of the regression within a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import MARKDOWN
from rich.table import Table

from baselines.experiments.scpo.regression_training import (
    CURVE_POINTS,
    LABELS,
    TRACED,
    RegressionSetting,
    Run,
    grid_points,
)
from baselines.report.plots import clear_frame, label_ends
from baselines.report.style import LIMIT_COLOR, LIMIT_DASHES
from safe_envs.control.constrained_regression import BOUND, CONSTRAINED, optimal_loss, target

COLORS = {"literal": "#0072B2", "ours": "#009E73", "soft": "#D55E00", "unconstrained": "#555555"}
MEASURED = ("literal", "ours")  # methods that keep their answers in the band at the grid's points
FORMATS = {
    **{"its": "{:.0f}", "loss": "{:.4f}", "max g": "{:+.1e}", "violate": "{:.1f} %"},
    **{"loss rises": "{:.0f}", "null": "{:.0f}", "projected": "{:.0f}", "g evals": "{:,.0f}"},
    **{"env steps": "{:,.0f}", "off grid": "{:+.4f}", "certified": "{:.4f} %", "CPU s": "{:.0f}"},
}


def results_table(title: str, runs: Sequence[Run]) -> Table:
    """Return a row per run, preceded by the means over several seeds, with the largest max g."""
    table = Table("method", title=title, box=MARKDOWN)
    for heading in ("seed", *FORMATS):
        table.add_column(heading, justify="right", no_wrap=True)
    groups: dict[RegressionSetting, list[Run]] = {}
    for each in runs:
        groups.setdefault(replace(each.setting, seed=0), []).append(each)
    for setting, group in groups.items():
        rows = np.array([_figures(each) for each in group])
        if len(group) > 1:
            mean = rows.mean(axis=0)
            mean[2] = rows[:, 2].max()
            table.add_row(setting.label, f"mean of {len(group)}", *_formatted(mean))
        for each, row in zip(group, rows, strict=True):
            table.add_row(setting.label, f"{each.setting.seed}", *_formatted(row))
    return table


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Write figure 2: f, the band and what each method has learned from its first seed.

    Dots are the points of the grid, at which SCPO measures its answers and beyond which it promises
    nothing: between two of them a curve may cross the edge of the band.
    """
    x = np.linspace(-4.0, 4.0, CURVE_POINTS)
    first = {each.setting.method: each for each in reversed(runs)}
    figure = Figure(figsize=(8.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, target(x), color="#999999", lw=1.2, ls=(0, (1, 1)), label="f")
    for method in [name for name in LABELS if name in first]:
        color, curve = COLORS[method], first[method].curve
        axes.plot(x, curve, color=color, lw=1.6, label=LABELS[method])
        if method in MEASURED:
            grid = grid_points(first[method].setting.grid)
            axes.scatter(grid, np.interp(grid, x, curve), s=13, color=color, lw=0, zorder=3)
    for side in (-1.0, 1.0):
        ends, bounds = [-CONSTRAINED, CONSTRAINED], [side * BOUND] * 2
        axes.fill_between(ends, bounds, side * 3.0, color=LIMIT_COLOR, alpha=0.07, lw=0)
        axes.plot(ends, bounds, color=LIMIT_COLOR, ls=LIMIT_DASHES, lw=1.1)
    clear_frame(axes)
    axes.set(xlim=(-4.0, 4.0), ylim=(-3.0, 3.0), xlabel="x", ylabel="y")
    title = f"Learned with |y| <= {BOUND:g}, which SCPO measures at the dots, first seed"
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=150)


def draw_traces(runs: Sequence[Run], path: Path) -> None:
    """Write figure 3: loss and violation over the iterations, mean and range over the seeds."""
    figure = Figure(figsize=(11.0, 3.9))
    figure.subplots_adjust(left=0.06, right=0.865, bottom=0.13, top=0.9, wspace=0.56)
    loss_axes, violation_axes = figure.subplots(1, 2)
    _draw_panel(loss_axes, {each.setting: each.losses for each in runs}, TRACED)
    _draw_panel(violation_axes, {each.setting: each.violation for each in runs}, 1)
    figure.savefig(path, dpi=150)


def _draw_panel(axes: Axes, traces: dict[RegressionSetting, list[float]], spacing: int) -> None:
    ends, colors = {}, {}
    for method in dict.fromkeys(setting.method for setting in traces):
        values = np.array([trace for setting, trace in traces.items() if setting.method == method])
        at = spacing * np.arange(values.shape[1]) + (spacing == 1)  # after the first step
        color, band = COLORS[method], (values.min(axis=0), values.max(axis=0))
        axes.fill_between(at, *band, color=color, alpha=0.15, lw=0)
        axes.plot(at, values.mean(axis=0), color=color, lw=1.6)
        ends[LABELS[method]], colors[LABELS[method]] = values[:, -1].mean(), color
    clear_frame(axes)
    axes.set(xlabel="iteration", xlim=(0, max(setting.iterations for setting in traces)))
    if spacing > 1:
        axes.set_title("loss over the population", loc="left", fontsize=10.5)
        axes.set_yscale("log")
        axes.axhline(optimal_loss(), color=LIMIT_COLOR, ls=LIMIT_DASHES, lw=1.1)
        ends["best in the band"], colors["best in the band"] = optimal_loss(), LIMIT_COLOR
    else:
        title = r"violation: $\|\,\mathrm{relu}(g)\,\|_1$ / points"
        axes.set_title(title, loc="left", fontsize=10.5)
        axes.set_yscale("symlog", linthresh=1e-3)
        axes.set_ylim(bottom=-2e-4)
    label_ends(axes, ends, colors, 0.07)


def _figures(run: Run) -> list[float]:
    """Return the numbers of a row of the table."""
    share = 100.0 / run.setting.iterations
    steps = [run.violations * share, run.increases, run.null_steps, run.projected]
    costs = [run.evaluations, run.env_steps, run.off_grid, 100.0 * run.certified, run.seconds]
    return [run.setting.iterations, run.loss, run.max_constraint, *steps, *costs]


def _formatted(row: Sequence[float]) -> list[str]:
    return [form.format(value) for form, value in zip(FORMATS.values(), row, strict=True)]
