"""The figures of the filter comparison.

After figures 1 to 3 of Lin and Xu (arXiv 2602.12603): 1, the paths of one scenario (with the paired
differences in return); 2, what the corrections lose of the value; 3, how long they take.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from baselines.experiments.curvature_guided_filter_flights import (
    NO_FILTER,
    WEIGHTED,
    Flights,
    paired_interval,
)
from baselines.report.plots import write_png
from baselines.report.style import LIMIT_COLOR
from safe_envs.quadrotor.scene import SPHERE_RADIUS
from safe_envs.quadrotor.task import SceneName
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv

LINES: Mapping[str, dict[str, Any]] = {
    NO_FILTER: {"color": "#777777", "linestyle": (0, (1.0, 1.2)), "linewidth": 1.6},
    "order 2, lqr": {"color": "#E69F00", "linestyle": (0, (5.0, 1.5)), "linewidth": 1.8},
    "order 3, euclidean": {"color": "#56B4E9", "linestyle": "-", "linewidth": 1.8},
    "order 3, lqr": {"color": "#0072B2", "linestyle": "-", "linewidth": 2.4},
}
SPHERE_COLOR = "#F3C9C9"


def draw_flights(
    flown: Mapping[str, Mapping[str, Flights]], seed: int, scenarios: int, file: Path
) -> None:
    """Write a PNG with one row per scene.

    Args:
        flown: flights by scene and filter.
        seed: of the flights.
        scenarios: number of flights.
        file: to write.
    """
    figure = Figure(figsize=(14.0, 4.4 * len(flown)), layout="constrained")
    rows = figure.subplots(len(flown), 3, squeeze=False, width_ratios=(1.5, 1.5, 1.0))
    for (above, side, difference), (scene, flights) in zip(rows, flown.items(), strict=True):
        centres = first_centres(scene, seed, scenarios)
        _draw_paths(above, flights, centres, (0, 1))
        _draw_paths(side, flights, centres, (0, 2))
        above.set(title=f"{scene}: one flight from above", ylabel="y [m]", ylim=(-1.2, 1.2))
        side.set(title=f"{scene}: the same from the side", ylabel="z [m]", ylim=(0.0, 2.4))
        _draw_differences(difference, flights)
    rows[0][0].legend(loc="upper left", fontsize=8, ncols=2, framealpha=1.0)
    write_png(figure, file, dpi=130)


def draw_degradation(lost: Mapping[str, Mapping[str, np.ndarray]], file: Path) -> None:
    """Write a PNG with Q(s, u_ref) - Q(s, u) by scene and filter: its distribution over states."""
    figure = Figure(figsize=(5.6 * len(lost), 4.0), layout="constrained")
    for axes, (scene, by_filter) in zip(
        figure.subplots(1, len(lost), squeeze=False)[0], lost.items(), strict=True
    ):
        names = [name for name, values in by_filter.items() if len(values)]
        _draw_boxes(axes, [by_filter[name] for name in names], names)
        axes.plot(
            range(len(names)), [by_filter[name].mean() for name in names], "D", color="#D55E00"
        )
        axes.axhline(0.0, color="#333333", linewidth=0.8)
        states = max((len(values) for values in by_filter.values()), default=0)
        axes.set(
            title=f"{scene}: {states} states with an unsafe reference",
            ylabel="true value lost in one step",
        )
    write_png(figure, file, dpi=130)


def draw_times(times: Mapping[str, Mapping[str, np.ndarray]], file: Path) -> None:
    """Write a PNG with the time in the filter by scene and filter: its distribution over steps."""
    figure = Figure(figsize=(5.6 * len(times), 4.0), layout="constrained")
    for axes, (scene, by_filter) in zip(
        figure.subplots(1, len(times), squeeze=False)[0], times.items(), strict=True
    ):
        _draw_boxes(axes, [1e6 * each for each in by_filter.values()], list(by_filter))
        axes.set(title=scene, ylabel="time in the filter, 5 to 95 % of steps [us]")
        axes.set_ylim(bottom=0.0)
    write_png(figure, file, dpi=130)


def _draw_boxes(axes: Axes, values: list[np.ndarray], names: list[str]) -> None:
    """Draw quartiles, and whiskers from 5 to 95 percent."""
    boxes = axes.boxplot(
        values, positions=range(len(names)), widths=0.55, whis=(5, 95), showfliers=False,
        patch_artist=True, manage_ticks=False, medianprops={"color": "#222222"},
    )  # fmt: skip
    for box in boxes["boxes"]:
        box.set(facecolor="#9CC9E8", edgecolor="#333333")
    axes.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    axes.grid(True, axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def first_centres(scene: str, seed: int, scenarios: int) -> np.ndarray:
    """Return the spheres' centres in the first of the scenarios, (obstacles, 3) [m]."""
    names: dict[str, SceneName] = {"spheres": "spheres", "column": "column"}
    env = QuadrotorVectorEnv(scenarios, None, scene=names[scene])
    env.reset(seed=seed)
    return env.centres[:, :, 0]


def _draw_paths(
    axes: Axes, flights: Mapping[str, Flights], centres: np.ndarray, shown: tuple[int, int]
) -> None:
    for centre in centres:
        axes.add_patch(
            Circle(centre[list(shown)].tolist(), SPHERE_RADIUS, fc=SPHERE_COLOR, ec=LIMIT_COLOR)
        )
    for name, line in LINES.items():
        path = flights[name].path[:, shown]
        axes.plot(path[:, 0], path[:, 1], label=name, **line)
    axes.set(xlabel="x [m]", xlim=(-1.7, 1.7), aspect="equal")
    axes.grid(True, color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def _draw_differences(axes: Axes, flights: Mapping[str, Flights]) -> None:
    """Draw every pair's difference in return between the metrics, and the mean's interval."""
    for place, weighted in enumerate(WEIGHTED):
        ours = flights[weighted.name].returns
        theirs = flights[f"order {weighted.order}, euclidean"].returns
        spread = np.linspace(-0.16, 0.16, len(ours))
        axes.plot(place + spread, ours - theirs, ".", color="#AAAAAA", markersize=5)
        interval = paired_interval(ours, theirs)
        axes.errorbar(
            place, interval.mean, interval.half_width, fmt="o", color="#0072B2", capsize=6, lw=2.0
        )
    axes.axhline(0.0, color="#333333", linewidth=0.8)
    axes.set(title="return gained by the metric", ylabel="over euclidean")
    axes.set_xlim(-0.5, len(WEIGHTED) - 0.5)
    axes.set_xticks(range(len(WEIGHTED)), [each.name.replace(", ", "\n") for each in WEIGHTED])
