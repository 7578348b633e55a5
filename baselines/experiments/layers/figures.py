"""The figure of a study of constraint layers: where trainings end, and what their networks do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from baselines.diagnostics.measured_files import STEPS
from baselines.experiments.layers.training import TrainingResult
from baselines.report.plots import write_png

COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#000000", "#999999", "#7B4FA3", "#8C564B"),
)
SMALLEST = 1e-6  # that is shown


def draw_study(results: Mapping[str, Sequence[TrainingResult]], file: Path) -> None:
    """Write a PNG with three panels.

    Left: the mean gap after the repair, a dot per training and a line for the median. Middle: the
    mean violation in front of the layer, over the steps. Right: steps of the layer per instance.
    Both are medians over the trainings of a variant.

    Args:
        results: by variant; variants without results are left out.
        file: to write.
    """
    shown = {variant: group for variant, group in results.items() if group}
    colors = dict(zip(shown, COLORS * (1 + len(shown) // len(COLORS)), strict=False))
    figure = Figure(figsize=(13.0, 0.9 + 0.42 * max(len(shown), 6)), layout="constrained")
    gaps, violations, iterations = figure.subplots(1, 3, width_ratios=(1.3, 1.0, 1.0))
    _draw_gaps(gaps, shown, colors)
    for variant, group in shown.items():
        steps = [point.step + 1 for point in group[0].curve]
        color = colors[variant]
        violations.plot(steps, _median(group, "raw_violation"), color=color, label=variant)
        if group[0].setting.layer != "soft":
            iterations.plot(steps, _median(group, "iterations"), color=color)
    violations.set(xlabel="step", title="violation in front of the layer", yscale="log")
    iterations.set(xlabel="step", title="steps of the layer per instance")
    for axes in (violations, iterations):
        axes.grid(True, color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
    write_png(figure, file, dpi=130)


def draw_ranks(measured: Mapping[str, Sequence[Mapping[str, np.ndarray]]], file: Path) -> None:
    """Write a PNG with the gap and with the directions that layers pass on, over the steps.

    Args:
        measured: columns of the diagnostics of each training, by variant.
        file: to write.
    """
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    gaps, shares = figure.subplots(1, 2)
    for color, (variant, group) in zip(COLORS, measured.items(), strict=False):
        for place, one in enumerate(group):
            label = variant if place == 0 else None
            share = one["layer_rank/effective"] / one["layer_rank/of_a_projection"]
            gaps.plot(one[STEPS], np.maximum(one["layer/gap"], SMALLEST), color=color, alpha=0.8)
            shares.plot(one[STEPS], share, color=color, alpha=0.8, label=label)
    gaps.set(xlabel="step", title="gap to the optimum, repaired", yscale="log")
    shares.set(xlabel="step", title="directions passed on, as a share of a projection's")
    shares.legend(frameon=False)
    for axes in (gaps, shares):
        axes.grid(True, color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
    write_png(figure, file, dpi=130)


def _draw_gaps(
    axes: Axes, shown: Mapping[str, Sequence[TrainingResult]], colors: Mapping[str, str]
) -> None:
    for row, (variant, group) in enumerate(shown.items()):
        values = np.maximum([abs(one.repaired.gap_mean) for one in group], SMALLEST)
        axes.plot(values, np.full(len(values), row), "o", color=colors[variant], alpha=0.6)
        middle = float(np.median(values))
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=colors[variant], linewidth=2.0)
    names = [f"{v}, one repair" if g[0].setting.layer == "soft" else v for v, g in shown.items()]
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.set(xscale="log", title="|gap| to the optimum, repaired")
    axes.grid(True, axis="x", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def _median(group: Sequence[TrainingResult], name: str) -> np.ndarray:
    """Return the median over the trainings at each point of their curves."""
    curves = [[getattr(point, name) for point in one.curve] for one in group]
    length = min(map(len, curves))
    return np.median([curve[:length] for curve in curves], axis=0)
