"""The trade-off of cost against return of final policies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from baselines.report.plots import clear_frame, save_png_and_svg
from baselines.report.style import (
    LIMIT_COLOR,
    LIMIT_DASHES,
    AgentStyle,
    place_labels,
    scale_costs,
    shorten_numbers,
    styles_of,
)

PARETO_LEGEND = "large: mean over the seeds; small: single seeds"


def draw_pareto(
    title: str,
    points: Mapping[str, np.ndarray],
    limit: float,
    stem: Path,
    cost_name: str = "episode cost",
    return_name: str = "episode return",
    styles: Mapping[str, AgentStyle] | None = None,
) -> Figure:
    """Write stem.png and stem.svg: return against cost, a dot per seed and a large one per agent.

    Args:
        title: of the figure.
        points: by agent, (cost, return) of each seed, shape (seeds, 2).
        limit: of the cost.
        stem: path of the files without their suffix.
        cost_name: of the horizontal axis.
        return_name: of the vertical axis.
        styles: of the agents; those of `styles_of` if left out.

    Returns:
        The figure as it was written.

    Raises:
        ValueError: if there is no point, or points are not finite or not (seeds, 2).
    """
    _check_points(points)
    shown = styles_of(points) if styles is None else styles
    with matplotlib.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5.6, 4.1))
        figure.subplots_adjust(left=0.14, right=0.975, bottom=0.135, top=0.81)
        axes = figure.subplots()
        figure.suptitle(title, fontsize=12.5, fontweight="bold", x=0.016, y=0.975, ha="left")
        figure.text(0.016, 0.895, PARETO_LEGEND, fontsize=8.5, color="#555555")
        for agent, seeds in points.items():
            style = shown[agent]
            axes.scatter(
                seeds[:, 0],
                seeds[:, 1],
                s=16,
                color=style.color,
                alpha=0.5,
                linewidth=0,
                marker="o",
            )
            axes.scatter(
                seeds[:, 0].mean(),
                seeds[:, 1].mean(),
                s=95,
                color=style.color,
                marker=style.marker,
                edgecolor="white",
                linewidth=1.0,
                zorder=3,
                label=agent,
            )
        clear_frame(axes)
        axes.set(xlabel=cost_name, ylabel=return_name)
        axes.margins(0.09)
        _draw_feasible_side(axes, limit, max(float(seeds[:, 0].max()) for seeds in points.values()))
        for axis in (axes.xaxis, axes.yaxis):
            shorten_numbers(axis)
        _label_means(figure, axes, points, shown, limit)
        save_png_and_svg(figure, stem)
    return figure


def _draw_feasible_side(axes: Axes, limit: float, highest: float) -> None:
    """Scale the costs, draw the dashed limit, name its sides and shade the violating one."""
    if scale_costs(axes.xaxis, limit, highest):
        axes.set_xlabel(f"{axes.get_xlabel()} (log above limit)")
    right = axes.get_xlim()[1]
    axes.axvspan(limit, right, color=LIMIT_COLOR, alpha=0.06, linewidth=0, zorder=0)
    axes.axvline(limit, color=LIMIT_COLOR, linestyle=LIMIT_DASHES, linewidth=1.1, label="limit")
    axes.set_xlim(right=right)
    for text, side, offset in (("feasible", "right", -5), (f"above limit {limit:g}", "left", 5)):
        axes.annotate(
            text,
            (limit, 1.0),
            (offset, 4),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha=side,
            va="bottom",
            fontsize=9,
            color=LIMIT_COLOR,
        )


def _label_means(
    figure: Figure,
    axes: Axes,
    points: Mapping[str, np.ndarray],
    styles: Mapping[str, AgentStyle],
    limit: float,
) -> None:
    """Write the name of each agent beside its mean, clear of other names, points and the limit."""
    canvas = FigureCanvasAgg(figure)
    texts = [
        axes.text(0, 0, agent, fontsize=9.5, color=styles[agent].text_color, fontweight="bold")
        for agent in points
    ]
    canvas.draw()
    boxes = [text.get_window_extent() for text in texts]
    sizes = np.array([(box.width + 2, box.height + 2) for box in boxes])
    means = np.array([seeds.mean(axis=0) for seeds in points.values()])
    anchors = axes.transData.transform(means)
    seeds = np.vstack(list(points.values()))
    across = axes.transData.transform((limit, seeds[0, 1]))[0]
    line = np.array([[across - 1.0, axes.bbox.y0, across + 1.0, axes.bbox.y1]])
    drawn = axes.transData.transform(seeds)
    obstacles = np.vstack([_boxes(anchors, 8.0), _boxes(drawn, 3.0), line])
    centers = place_labels(anchors, sizes, obstacles, axes.bbox.extents, gap=10.0)
    back = axes.transData.inverted()
    for text, anchor, size, center in zip(texts, anchors, sizes, centers, strict=True):
        text.set(position=back.transform(center), ha="center", va="center")
        nearest = np.clip(anchor, center - size / 2, center + size / 2)
        if np.linalg.norm(nearest - anchor) > 16:
            axes.plot(*back.transform([anchor, nearest]).T, color=text.get_color(), linewidth=0.7)


def _boxes(centers: np.ndarray, radius: float) -> np.ndarray:
    return np.hstack([centers - radius, centers + radius])


def _check_points(points: Mapping[str, np.ndarray]) -> None:
    wrong = [
        f"{agent}: {np.shape(seeds)}"
        for agent, seeds in points.items()
        if np.ndim(seeds) != 2 or np.shape(seeds)[1] != 2 or not np.size(seeds)
    ]
    if wrong or not points:
        raise ValueError(
            f"points has the shapes {wrong or 'of no agent'}; each agent needs (seeds, 2) with at "
            "least one seed; pass one (cost, return) per seed"
        )
    if not all(np.isfinite(seeds).all() for seeds in points.values()):
        raise ValueError("points has NaN or infinite entries; all must be finite; leave them out")
