"""Does a curvature-weighted safety filter keep more of the value than a Euclidean one?

    python -m baselines.experiments.curvature_guided_filter

Paired flights of a quadrotor on a figure eight through spheres: a controller that ignores
obstacles, behind no filter, behind filters of order 2 and 3 with the Euclidean, the LQR
and a learned metric, and, as the upper reference, with the safe thrusts of the best true value. The
question and the filter are those of Lin and Xu, "Curvature-Guided Safety
Filters" (arXiv 2602.12603), section V. Vehicle, scenes, rewards, gains and the barrier of order 3
are this project's, so the numbers of the paper are not reproduced exactly.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_atomically, write_json
from baselines.experiments.quadrotor.flights import (
    FILTERS,
    NO_FILTER,
    VALUE_OPTIMAL,
    WEIGHTED,
    Filter,
    Flights,
    Nominal,
    filter_times,
    fly,
    one_step_degradation,
)
from baselines.measures.statistics import MeanInterval, paired_interval
from baselines.report.plots import write_png
from baselines.report.style import LIMIT_COLOR
from baselines.shell_command import shell_command
from safe_envs.quadrotor.scene import SPHERE_RADIUS
from safe_envs.quadrotor.task import SceneName
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv

LEAST_CLEARANCE = 0.01  # [m] expected of order 3
SAME_RETURN = 1e-3  # differences of returns below this are rounding of the actions
FLIGHT_COLUMNS = ("returns", "rmse", "clearance", "violation", "slack", "active", "ended_early")
ByFilter = dict[str, Flights]
Arrays = dict[str, np.ndarray]  # by filter
LINES: Mapping[str, dict[str, Any]] = {
    NO_FILTER: {"color": "#777777", "linestyle": (0, (1.0, 1.2)), "linewidth": 1.6},
    "order 2, lqr": {"color": "#E69F00", "linestyle": (0, (5.0, 1.5)), "linewidth": 1.8},
    "order 3, euclidean": {"color": "#56B4E9", "linestyle": "-", "linewidth": 1.8},
    "order 3, lqr": {"color": "#0072B2", "linestyle": "-", "linewidth": 2.4},
}
SPHERE_COLOR = "#F3C9C9"


@dataclass(frozen=True)
class CurvatureFilterArguments:
    """Fly the same scenarios behind every filter, and print the results."""

    scenarios: int = 32
    """Starts and obstacles, the same for every filter."""
    seed: int = 0
    """Random seed of the scenarios."""
    scenes: tuple[SceneName, ...] = ("spheres", "column")
    """Where to fly."""
    margin: float = 0.03
    """Added to the spheres' radii by the filters [m]."""
    steps: int = 600
    """Of 0.01 s; the figure eight takes 600."""
    nominal: Nominal = "geometric"
    """The controller behind the filters: a geometric law, or model predictive control (slower).
    Both ignore obstacles."""
    value_optimal: bool = True
    """Whether to fly the upper reference as well, which takes minutes; with the geometric law."""
    out: Path = Path("runs/curvature_guided_filter")
    """Folder of results.json, flights.csv and figures 1 to 3."""


def summary(
    flights: Flights, times: np.ndarray | None, lost: np.ndarray | None
) -> dict[str, float]:
    """Return the figures of one filter in one scene; times in microseconds."""
    figures = {
        "return": float(flights.returns.mean()),
        "rmse": float(flights.rmse.mean()),
        "worst_clearance": float(flights.clearance.min()),
        "violation": float(flights.violation.mean()),
        "slack": float(flights.slack.mean()),
        "active": float(flights.active.mean()),
        "ended_early": float(flights.ended_early.mean()),
    }
    if times is not None:
        middle, high = np.percentile(times * 1e6, [50, 99])
        figures |= {"filter_time_p50": float(middle), "filter_time_p99": float(high)}
    if lost is not None and len(lost):
        figures["value_lost"] = float(lost.mean())
    return figures


def gains(flights: ByFilter) -> dict[str, dict[str, MeanInterval]]:
    """Return the gain of weighted filters and of the optimum over Euclidean ones, by quantity."""
    found = {}
    for weighted in (*WEIGHTED, VALUE_OPTIMAL):
        if weighted.name not in flights:
            continue
        ours, theirs = flights[weighted.name], flights[f"order {weighted.order}, euclidean"]
        found[weighted.name] = {
            "return": paired_interval(ours.returns, theirs.returns),
            "rmse": paired_interval(ours.rmse, theirs.rmse),
            "clearance": paired_interval(ours.clearance, theirs.clearance),
        }
    return found


def findings(scene: str, flights: ByFilter, lost: Arrays) -> list[tuple[str, bool, str]]:
    """Return claims, whether these flights support them, and the numbers."""
    third = [flights[f"order 3, {metric}"] for metric in ("euclidean", "lqr", "fqi")]
    second = [flights[f"order 2, {metric}"] for metric in ("euclidean", "lqr")]
    worst = min(float(each.clearance.min()) for each in third)
    broken = max(float(each.violation.max()) for each in third)
    bare = float((flights[NO_FILTER].violation > 0.0).mean())
    gained = gains(flights)
    apart = float(np.abs(second[0].returns - second[1].returns).max())
    claims = [
        ("without a filter every flight meets a sphere", bare == 1.0, f"{bare:.0%} of flights"),
        (
            f"order 3 meets no sphere and keeps {LEAST_CLEARANCE} m clear",
            broken == 0.0 and worst >= LEAST_CLEARANCE,
            f"worst clearance {worst:.4f} m",
        ),
        (
            "order 2: the metric makes no difference, against the paper's gain with such a barrier",
            apart < SAME_RETURN,
            f"returns differ by at most {apart:.1e}",
        ),
    ]
    for name, metric in (("LQR", "lqr"), ("learned", "fqi")):
        more = gained[f"order 3, {metric}"]["return"]
        shown = f"{more.mean:+.3f} +- {more.half_width:.3f}"
        claim = f"order 3: the {name} metric gains return"
        claims.append((claim, more.mean > more.half_width, shown))
    enough = len(lost["order 3, euclidean"]) > 1
    for name, metric in (("LQR", "lqr"), ("learned", "fqi")) if enough else ():
        less = paired_interval(lost["order 3, euclidean"], lost[f"order 3, {metric}"])
        shown = f"{less.mean:+.5f} +- {less.half_width:.5f}"
        claim = f"order 3: the {name} metric loses less of the true value in one step"
        claims.append((claim, less.mean > less.half_width, shown))
    if scene == "column":
        share = min(float(each.violation.mean()) for each in second)
        claims.append(
            ("order 2 is in a column in 10 % of steps or more", share >= 0.1, f"{share:.1%}")
        )
    return claims


def table(scene: str, figures: dict[str, dict[str, float]]) -> Table:
    """Return the table of one scene."""
    columns = {
        "return": "{:.3f}",
        "rmse": "{:.4f}",
        "worst_clearance": "{:.4f}",
        "violation": "{:.2%}",
        "slack": "{:.2%}",
        "active": "{:.1%}",
        "value_lost": "{:.5f}",
        "filter_time_p50": "{:.0f}",
        "filter_time_p99": "{:.0f}",
    }
    shown = Table("filter", *(name.replace("_", " ") for name in columns), title=scene)
    for name, row in figures.items():
        cells = (form.format(row[key]) if key in row else "" for key, form in columns.items())
        shown.add_row(name, *cells)
    return shown


def flights_csv(flown: dict[str, ByFilter]) -> bytes:
    """Return one line per flight."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("scene", "filter", "scenario", *FLIGHT_COLUMNS))
    for scene, flights in flown.items():
        for name, each in flights.items():
            columns = (each.returns, each.rmse, each.clearance, each.violation, each.slack,
                       each.active, each.ended_early.astype(np.int64))  # fmt: skip
            for i, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
                writer.writerow((scene, name, i, *row))
    return text.getvalue().encode()


def run(arguments: CurvatureFilterArguments, console: Console) -> dict[str, Any]:
    """Fly, print and write everything; return what results.json holds."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    flown: dict[str, ByFilter] = {}
    results: dict[str, Any] = {"arguments": asdict(arguments) | {"out": str(arguments.out)}}
    lost_by_scene: dict[str, Arrays] = {}
    times_by_scene: dict[str, Arrays] = {}
    flown_optimal = arguments.value_optimal and arguments.nominal == "geometric"
    best = (VALUE_OPTIMAL,) if flown_optimal else ()
    chosen: list[Filter | None] = [None, *FILTERS, *best]
    for scene in arguments.scenes:
        case = (arguments.seed, arguments.margin, arguments.steps)
        flights = {
            each.name if each else NO_FILTER: fly(
                scene, each, arguments.scenarios, *case, nominal=arguments.nominal
            )
            for each in chosen
        }
        times = {each.name: filter_times(scene, each, *case) for each in FILTERS}
        lost = one_step_degradation(scene, arguments.scenarios, *case)
        figures = {
            name: summary(flights[name], times.get(name), lost.get(name)) for name in flights
        }
        claims = findings(scene, flights, lost)
        flown[scene], lost_by_scene[scene], times_by_scene[scene] = flights, lost, times
        results[scene] = {
            "filters": figures,
            "gains": {
                order: {key: value._asdict() for key, value in each.items()}
                for order, each in gains(flights).items()
            },
            "findings": [
                {"claim": claim, "holds": bool(holds), "figures": text}
                for claim, holds, text in claims
            ],
        }
        console.print(table(scene, figures))
        for claim, holds, text in claims:
            console.print(f"  {'holds        ' if holds else 'does not hold'}  {claim}: {text}")
    write_json(arguments.out / "results.json", results)
    write_atomically(arguments.out / "flights.csv", flights_csv(flown))
    draw_flights(flown, arguments.seed, arguments.scenarios, arguments.out / "figure_1.png")
    draw_degradation(lost_by_scene, arguments.out / "figure_2.png")
    draw_times(times_by_scene, arguments.out / "figure_3.png")
    console.print(f"written to {arguments.out}")
    return results


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
        centers = first_centers(scene, seed, scenarios)
        _draw_paths(above, flights, centers, (0, 1))
        _draw_paths(side, flights, centers, (0, 2))
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


def first_centers(scene: str, seed: int, scenarios: int) -> np.ndarray:
    """Return the spheres' centers in the first of the scenarios, (obstacles, 3) [m]."""
    names: dict[str, SceneName] = {"spheres": "spheres", "column": "column"}
    env = QuadrotorVectorEnv(scenarios, None, scene=names[scene])
    env.reset(seed=seed)
    return env.centers[:, :, 0]


def _draw_paths(
    axes: Axes, flights: Mapping[str, Flights], centers: np.ndarray, shown: tuple[int, int]
) -> None:
    for center in centers:
        axes.add_patch(
            Circle(center[list(shown)].tolist(), SPHERE_RADIUS, fc=SPHERE_COLOR, ec=LIMIT_COLOR)
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


def main(arguments: CurvatureFilterArguments) -> None:
    """Run the comparison."""
    run(arguments, Console(width=160))


if __name__ == "__main__":
    main(
        tyro.cli(
            CurvatureFilterArguments,
            prog=shell_command("baselines.experiments.curvature_guided_filter"),
        )
    )
