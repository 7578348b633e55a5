"""Learning curves with their cost limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import EngFormatter, MaxNLocator

from baselines.measures.learning_curve import FinalPolicy, LearningCurve, seed_band
from baselines.report.plots import NAME_SIZE, clear_frame, label_ends, save_png_and_svg
from baselines.report.style import (
    LIMIT_COLOR,
    LIMIT_DASHES,
    AgentStyle,
    scale_costs,
    shorten_numbers,
    styles_of,
)

LEGEND = "thick line: mean over the seeds; band: lowest to highest seed; thin lines: single seeds"
FINAL_LEGEND = (
    "\nlarge dot: the final policy as evaluated{}, mean over the seeds; small dots: seeds"
)
PANEL_SIZE = (3.75, 3.35)  # [inch], with the gap beside it
PANEL_GAP = 1.43  # [inch], with NAME_ROOM for a name; longer ones widen it
LEFT_MARGIN, RIGHT_MARGIN = 0.7, 0.85  # [inch]
NAME_ROOM = 0.6  # [inch]
LABEL_DISTANCE = 0.062  # between two names, as a fraction of a panel's height


def draw_learning_curves(
    title: str,
    curves: Sequence[LearningCurve],
    limits: Sequence[float],
    stem: Path,
    constraint_names: Sequence[str] | None = None,
    styles: Mapping[str, AgentStyle] | None = None,
) -> Figure:
    """Write stem.png and stem.svg: return, one panel per cost with its limit, episode length.

    A thick line is the mean over the seeds of an agent, the band reaches from the lowest to the
    highest seed, and a thin line is one seed. Nothing is smoothed beyond the episodes that each
    point covers. Curves with a final policy end in dots: what the runs measured, exactly where
    there is a model. Sums with a discount are named so.

    Args:
        title: of the figure.
        curves: of any number of agents and seeds, all with the same m constraints.
        limits: of the episode cost, one per constraint.
        stem: path of the files without their suffix.
        constraint_names: for the titles of the panels; numbers if left out.
        styles: of the agents; those of `styles_of` if left out.

    Returns:
        The figure as it was written.

    Raises:
        ValueError: if there is no curve, or limits or names do not match the constraints.
    """
    names = _constraint_names(curves, limits, constraint_names)
    discounts = _shared_discounts(curves, len(limits))
    count = len(limits) + 2
    columns = 3 if count != 4 else 2
    rows = -(-count // columns)
    agents = [curve.agent for curve in curves]
    shown = styles_of(agents) if styles is None else styles
    legend = LEGEND + _final_legend(curves)
    head = 0.82 + 0.15 * legend.count("\n")  # [inch] above the panels
    height = PANEL_SIZE[1] * rows + head - 0.52
    with matplotlib.rc_context({"font.size": 9.5}):
        across = across_panels(columns, [*agents, *limit_names(limits)])
        width = across.width
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=across.left,
            right=across.right,
            bottom=0.5 / height,
            top=1.0 - head / height,
            wspace=across.wspace,
            hspace=0.36,
        )
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        figure.suptitle(
            title, fontsize=12.5, fontweight="bold", x=0.12 / width, y=1 - 0.08 / height, ha="left"
        )
        place = 0.12 / width, 1 - (head - 0.37) / height
        figure.text(*place, legend, fontsize=8.5, color="#555555")
        gain = named_sum("episode return", discounts[0])
        draw = partial(draw_panel, curves=curves, styles=shown)
        draw(panels[0], gain, quantity=lambda each: each.episode_return)
        for i, (name, limit) in enumerate(zip(names, limits, strict=True)):
            title = named_sum(name, discounts[1 + i])
            draw(panels[1 + i], title, quantity=partial(_cost, constraint=i), limit=limit)
        draw(panels[count - 1], "episode length", quantity=lambda each: each.episode_length)
        for unused in panels[count:]:
            unused.set_visible(False)
        save_png_and_svg(figure, stem)
    return figure


class AcrossPanels(NamedTuple):
    """How wide a figure is, and where its panels are, with room for names beside them."""

    width: float  # [inch]
    left: float  # fractions of the width
    right: float
    wspace: float  # between two panels, in widths of a panel


def across_panels(columns: int, names: Iterable[str]) -> AcrossPanels:
    """Return the measures of a figure whose panels are all followed by these names.

    Panels keep their size; the figure grows with the longest name.
    """
    extra = max(max(map(_name_width, names), default=0.0) - NAME_ROOM, 0.0)
    gap, right = PANEL_GAP + extra, RIGHT_MARGIN + extra
    panel = PANEL_SIZE[0] - PANEL_GAP
    width = LEFT_MARGIN + columns * panel + (columns - 1) * gap + right
    return AcrossPanels(width, LEFT_MARGIN / width, 1.0 - right / width, gap / panel)


def _name_width(name: str) -> float:
    """Return the width of a name beside a panel, in inches."""
    if not name.strip():
        return 0.0
    return float(TextPath((0.0, 0.0), name, size=NAME_SIZE).get_extents().width) / 72.0


def limit_names(limits: Iterable[float]) -> list[str]:
    """Return what stands beside the lines of these limits."""
    return [f"limit {limit:g}" for limit in limits]


def _constraint_names(
    curves: Sequence[LearningCurve], limits: Sequence[float], names: Sequence[str] | None
) -> list[str]:
    """Return the titles of the cost panels."""
    counts = sorted({curve.episode_cost.shape[1] for curve in curves})
    if counts != [len(limits)] or (names is not None and len(names) != len(limits)):
        raise ValueError(
            f"there are {len(limits)} limits and {len(limits) if names is None else len(names)} "
            f"names for {len(curves)} curves with {counts} costs; each cost has one limit and "
            "one name; pass at least one curve and as many limits as costs"
        )
    if names is not None:
        return [f"episode cost: {name}" for name in names]
    return ["episode cost" + (f" {i + 1}" if len(limits) > 1 else "") for i in range(len(limits))]


def named_sum(name: str, discount: float) -> str:
    """Return the name of a sum over an episode, with its discount unless it is a plain one."""
    return name if discount == 1.0 else f"{name}, discount {discount:g}"


def _shared_discounts(curves: Sequence[LearningCurve], constraints: int) -> tuple[float, ...]:
    plain = (1.0,) * (1 + constraints)
    found = {plain if curve.discounts is None else curve.discounts for curve in curves}
    if len(found) > 1:
        raise ValueError(
            f"the curves have sums with different discounts, {sorted(found)}; they do not belong "
            "into one chart: draw one chart for each"
        )
    return found.pop()


def _final_legend(curves: Sequence[LearningCurve]) -> str:
    finals = [curve.final for curve in curves if curve.final is not None]
    if not finals:
        return ""
    return FINAL_LEGEND.format(", exactly" if all(one.is_exact for one in finals) else "")


def _cost(measured: LearningCurve | FinalPolicy, constraint: int) -> Any:
    return measured.episode_cost[..., constraint]


def draw_panel(
    axes: Axes,
    title: str,
    curves: Sequence[LearningCurve],
    quantity: Callable[[LearningCurve | FinalPolicy], Any],
    limit: float | None = None,
    *,
    styles: Mapping[str, AgentStyle],
    x_label: str = "timesteps",
) -> None:
    """Draw one quantity of the curves: a mean and a band per agent, and the limit if it has one.

    Args:
        axes: to draw on.
        title: of the panel.
        curves: of any number of agents and seeds.
        quantity: an array (k,) of a curve, and a number of a final policy.
        limit: of the quantity.
        styles: of the agents.
        x_label: of the horizontal axis.
    """
    ends: dict[str, float] = {}
    for agent in dict.fromkeys(curve.agent for curve in curves):
        seeds = [curve for curve in curves if curve.agent == agent]
        band = seed_band([c.timesteps for c in seeds], [quantity(c) for c in seeds])
        style = styles[agent]
        for curve in seeds if len(seeds) > 1 else ():
            axes.plot(
                curve.timesteps, quantity(curve), color=style.color, linewidth=0.5, alpha=0.35
            )
        axes.fill_between(
            band.timesteps,
            band.lowest,
            band.highest,
            color=style.color,
            alpha=0.13,
            linewidth=0,
            label=f"{agent} band",
        )
        axes.plot(
            band.timesteps,
            band.mean,
            color=style.color,
            linestyle=style.dashes,
            linewidth=1.8,
            marker=style.marker if band.timesteps[0] == band.timesteps[-1] else None,
            markevery=[0],  # a single point has no line
            label=agent,
            zorder=3,
        )
        ends[agent] = float(band.mean[-1])
        finals = [curve.final for curve in seeds if curve.final is not None]
        if finals:
            ends[agent] = _draw_finals(
                axes, agent, style, finals, [quantity(one) for one in finals]
            )
    clear_frame(axes)
    axes.set_title(title, fontsize=10.5, loc="left")
    axes.set_xlabel(x_label)
    last = [curve.timesteps[-1] for curve in curves]
    last += [curve.final.timesteps for curve in curves if curve.final is not None]
    axes.set_xlim(0, 1.01 * max(last))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    colors = {agent: styles[agent].text_color for agent in ends}
    if limit is not None:
        shown = [float(quantity(curve).max()) for curve in curves]
        shown += [float(quantity(one.final)) for one in curves if one.final is not None]
        _draw_limit(axes, limit, max(shown))
        (name,) = limit_names([limit])
        ends[name], colors[name] = limit, LIMIT_COLOR
    axes.set_ylim(axes.get_ylim())  # final before the labels are placed
    shorten_numbers(axes.yaxis)
    label_ends(axes, ends, colors, LABEL_DISTANCE)


def _draw_finals(
    axes: Axes,
    agent: str,
    style: AgentStyle,
    finals: Sequence[FinalPolicy],
    values: Sequence[float],
) -> float:
    """Draw a dot per seed and a large one for their mean, which is returned."""
    color, mean = style.color, float(np.mean(values))
    ends = [one.timesteps for one in finals]
    dots: dict[str, Any] = {"color": color, "linestyle": "", "marker": "o"}
    dots |= {"clip_on": False, "zorder": 4}
    if len(values) > 1:
        axes.plot(ends, values, markersize=2.5, alpha=0.6, **dots)
    dots |= {"markeredgecolor": "white", "markeredgewidth": 0.8, "label": f"{agent} final"}
    axes.plot([np.mean(ends)], [mean], markersize=6.5, **dots)
    return mean


def _draw_limit(axes: Axes, limit: float, highest: float) -> None:
    """Scale the costs, draw the limit as a dashed line and shade the violating side."""
    if scale_costs(axes.yaxis, limit, highest):
        axes.set_title(f"{axes.get_title('left')} (log above limit)", fontsize=10.5, loc="left")
    axes.axhspan(limit, axes.get_ylim()[1], color=LIMIT_COLOR, alpha=0.06, linewidth=0, zorder=0)
    axes.axhline(limit, color=LIMIT_COLOR, linestyle=LIMIT_DASHES, linewidth=1.1, label="limit")
