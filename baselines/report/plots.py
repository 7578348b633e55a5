"""The convergence plot: gap and violation of the last iterate against policy evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.tabular.solver_trace import SolverTrace
from baselines.atomic_files import write_atomically
from baselines.report.contrast import readable

BINS = 400
LEGEND_COLUMNS = 7
NAME_SIZE = 8.5  # [point], of a name beside a panel
NAME_DISTANCE = 0.058  # between two of them, as a fraction of the axis
FLOOR = 1e-16  # an error of zero, or below double precision, is drawn here

# Okabe and Ito's colors, distinguishable with every common color-vision deficiency. A log-linear
# agent has the color of its tabular counterpart and a dashed line.
STYLES = {
    "pqa_alm": ("#0072B2", "-"),
    "npg_pd": ("#E69F00", "-"),
    "rpg_pd": ("#CC79A7", "-"),
    "npg_dd": ("#56B4E9", "-"),
    "reload_pd": ("#009E73", "-"),
    "ppo_lag": ("#D55E00", "-"),
    "ppqa_alm": ("#0072B2", (0, (4, 1.5))),
    "lin_npg_pd": ("#E69F00", (0, (4, 1.5))),
    "lin_reload": ("#009E73", (0, (4, 1.5))),
    "lin_ppo_lag": ("#D55E00", (0, (4, 1.5))),
}
OTHER_STYLE = ("#444444", (0, (1, 1)))


def draw_convergence(
    title: str,
    traces: Mapping[str, Sequence[SolverTrace]],
    optimal_value: float,
    stem: Path,
) -> Figure:
    """Write stem.png and stem.svg with two panels, |gap| and the violation above zero.

    Nothing is smoothed: evaluations share a bin of a logarithmic scale, the line is the worst
    value in the bin over all seeds, and the band reaches down to the best.

    Args:
        title: of the figure.
        traces: by agent, one per seed.
        optimal_value: V_r of the linear program.
        stem: path of the files without their ending.

    Returns:
        The figure as it was written.
    """
    gaps = {a: [np.abs(optimal_value - t.value) for t in runs] for a, runs in traces.items()}
    violations = {a: [t.violation.max(axis=1) for t in runs] for a, runs in traces.items()}
    with matplotlib.rc_context({"font.size": 10}):
        figure = Figure(figsize=(9.6, 4.7))  # fixed margins: a fitted layout doubles the time
        figure.subplots_adjust(left=0.06, right=0.9, bottom=0.22, top=0.82, wspace=0.45)
        left, right = figure.subplots(1, 2, sharex=True)
        figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, y=0.985, ha="left")
        _panel(left, gaps, f"|gap| to the LP optimum {optimal_value:.6f}", "equal in float64")
        _panel(right, violations, "violation of the constraint violated most", "feasible")
        figure.legend(
            *left.get_legend_handles_labels(),
            loc="lower center",
            ncols=min(len(traces), LEGEND_COLUMNS),
            frameon=False,
            handlelength=2.6,
            columnspacing=1.6,
        )
        save_png_and_svg(figure, stem)
    return figure


def save_png_and_svg(figure: Figure, stem: Path) -> None:
    """Write stem.png and stem.svg; the same figure gives the same bytes."""
    with matplotlib.rc_context({"svg.hashsalt": "safe-envs"}):
        write_png(figure, stem.with_name(f"{stem.name}.png"), dpi=150)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        write_atomically(stem.with_name(f"{stem.name}.svg"), buffer.getvalue())


def write_figure(figure: Figure, file: Path) -> None:
    """Write a figure in the format of its suffix as a file that is complete whenever it exists."""
    buffer = BytesIO()
    kind = file.suffix.lower().removeprefix(".")
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "safe-envs"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=undated.get(kind))
    write_atomically(file, buffer.getvalue())


def write_png(figure: Figure, file: Path, dpi: int) -> None:
    """Write a figure as a PNG file that is complete whenever it exists."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    write_atomically(file, buffer.getvalue())


def log_bins(length: int, bins: int = BINS) -> np.ndarray:
    """Return the first index of each bin when 1 ... length is cut evenly on a log scale.

    Every bin holds at least one index, so there are fewer than `bins` for short traces.
    """
    edges = np.geomspace(1, length + 1, bins + 1)[:-1]
    return np.unique(np.floor(edges).astype(int)) - 1


def bin_extremes(runs: Sequence[np.ndarray], bins: int = BINS) -> tuple[np.ndarray, ...]:
    """Return (last evaluation, smallest, largest) of each bin over all runs of equal length."""
    stacked = np.stack(runs)  # (seeds, evaluations)
    starts = log_bins(stacked.shape[1], bins)
    lowest = np.minimum.reduceat(stacked.min(axis=0), starts)
    highest = np.maximum.reduceat(stacked.max(axis=0), starts)
    return np.append(starts[1:], stacked.shape[1]), lowest, highest


def spread(positions: np.ndarray, distance: float, lowest: float, highest: float) -> np.ndarray:
    """Return positions at least `distance` apart, moved as little as a single pass allows.

    They keep their order and stay within [lowest, highest] if there is room for all.
    """
    order = np.argsort(positions, kind="stable")
    moved = np.array(positions, dtype=np.float64)[order]
    for i in range(len(moved)):
        moved[i] = max(moved[i], lowest if i == 0 else moved[i - 1] + distance)
    ceiling = highest
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - distance
    result = np.empty_like(moved)
    result[order] = moved
    return result


def _panel(
    axes: Axes, errors: Mapping[str, Sequence[np.ndarray]], title: str, floor_means: str
) -> None:
    ends: dict[str, float] = {}
    evaluations = 2
    for agent, runs in errors.items():
        x, lowest, highest = bin_extremes([np.maximum(run, FLOOR) for run in runs])
        _draw_agent(axes, agent, x, lowest, highest)
        ends[agent] = float(highest[-1])
        evaluations = max(evaluations, int(x[-1]))
    axes.set(
        xscale="log", yscale="log", xlabel="policy evaluations (log scale)", xlim=(1, evaluations)
    )
    axes.set_ylim(FLOOR / 3, max(axes.get_ylim()[1], 1.0))
    axes.set_title(title, fontsize=10.5, loc="left", pad=18)
    axes.text(
        0.0,
        1.015,
        f"log scale; dotted floor at {FLOOR:g}: {floor_means}",
        transform=axes.transAxes,
        fontsize=8.5,
        color="#555555",
    )
    axes.axhline(FLOOR, color="#999999", linewidth=0.8, linestyle=":")
    clear_frame(axes)
    colors = {agent: readable(STYLES.get(agent, OTHER_STYLE)[0]) for agent in ends}
    label_ends(axes, ends, colors, NAME_DISTANCE)


def clear_frame(axes: Axes) -> None:
    """Keep only the left and lower edge, and a light grid behind the data."""
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_agent(
    axes: Axes, agent: str, x: np.ndarray, lowest: np.ndarray, highest: np.ndarray
) -> None:
    """Draw band and line, without the jumps to and from the floor, which would fill the panel."""
    color, dashes = STYLES.get(agent, OTHER_STYLE)
    axes.fill_between(x, lowest, highest, color=color, alpha=0.09, linewidth=0)
    is_above = highest > FLOOR
    for chosen, label in ((is_above, agent), (~is_above, None)):
        axes.plot(
            x,
            np.where(chosen, highest, np.nan),
            color=color,
            linestyle=dashes,
            linewidth=1.6,
            marker="o",
            markevery=alone(chosen),
            markersize=1.6,
            markeredgewidth=0.0,
            label=label,
        )


def alone(chosen: np.ndarray) -> np.ndarray:
    """Return which chosen entries have no chosen neighbor, so that no line reaches them."""
    padded = np.concatenate(([False], chosen, [False]))
    return chosen & ~padded[:-2] & ~padded[2:]


def label_ends(
    axes: Axes, ends: Mapping[str, float], colors: Mapping[str, str], distance: float = 0.048
) -> None:
    """Write each name to the right of the axes at the height of its last value, without overlaps.

    Args:
        axes: with its final limits and scale.
        ends: last value by name.
        colors: by name.
        distance: smallest distance between two names, as a fraction of the axis.
    """
    scaled = axes.yaxis.get_transform().transform
    low, high = scaled(np.array(axes.get_ylim()))
    heights = (scaled(np.array(list(ends.values()))) - low) / (high - low)  # fractions of the axis
    labels = spread(heights, distance, 0.01, 0.98)
    for name, height, label in zip(ends, heights, labels, strict=True):
        axes.annotate(
            name,
            (1.0, height),
            (1.03, label),
            xycoords="axes fraction",
            fontsize=NAME_SIZE,
            color=colors[name],
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colors[name],
                "linewidth": 0.7,
                "shrinkA": 1,
                "relpos": (0.0, 0.5),
            },
        )
