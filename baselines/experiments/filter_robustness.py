"""How well the safety filter works with a wrong model, and what margin compensates for it.

    python -m baselines.experiments.filter_robustness

Paired flights of the quadrotor through spheres, or past columns, in wind, with a mass that neither
controller nor filter knows, and with lagging rotors. Reports, for every filter, the distribution of
the smallest clearance, and the smallest margin of a list with which no flight hits an obstacle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_json
from baselines.experiments.quadrotor.flights import FILTERS, Filter, Flights, fly
from baselines.report.plots import write_png
from baselines.shell_command import shell_command
from safe_envs.quadrotor.task import SceneName

CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "as modeled": {},
    "wind 0.02 N": {"wind": (0.0, 0.02, 0.0)},  # 8 % of the Crazyflie's weight
    "wind 0.05 N": {"wind": (0.0, 0.05, 0.0)},
    "gusts of 0.02 N": {"gust": 0.02},
    "mass -20 %": {"mass_scale": 0.8},
    "mass +20 %": {"mass_scale": 1.2},
    "motor lag 20 ms": {"motor_lag": 0.02},
    "motor lag 50 ms": {"motor_lag": 0.05},
    "motor lag 72 ms": {"motor_lag": 0.072},  # of the Crazyflie in rotorpy
    "all, moderate": {
        "wind": (0.0, 0.02, 0.0), "gust": 0.01, "mass_scale": 1.1, "motor_lag": 0.02,
    },
}  # fmt: skip
COMPARED = ("order 2, lqr", "order 3, euclidean", "order 3, lqr", "order 3, fqi")
COLORS = ("#E69F00", "#56B4E9", "#0072B2", "#009E73")


@dataclass(frozen=True)
class RobustnessArguments:
    """Fly the same scenarios with wrong models behind every filter."""

    scenarios: int = 32
    """Starts and obstacles, the same for all."""
    seed: int = 0
    """Random seed of the scenarios."""
    scenes: tuple[SceneName, ...] = ("spheres", "column")
    """Where to fly."""
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    """What is wrong with the model."""
    margins: tuple[float, ...] = (0.03, 0.05, 0.08, 0.12, 0.17, 0.23, 0.3)
    """Tried in this order until no flight hits an obstacle [m]; results are for the first one."""
    steps: int = 600
    """Of 0.01 s; the figure eight takes 600."""
    out: Path = Path("runs/filter_robustness")
    """Folder of results.json and a figure per scene."""


@dataclass(frozen=True)
class Case:
    """One filter under one condition in one scene."""

    scene: str
    condition: str
    filter: str
    clearance: tuple[float, ...]  # smallest of each flight at the first margin [m], sorted
    flights_with_cost: float  # share
    violation: float  # share of steps
    uncertified: float  # share of steps
    ended_early: float  # share of flights
    returns: float  # mean
    margin_needed: float | None  # the first without cost or early end [m]; None if none was
    returns_there: float | None  # mean return at that margin


def study(arguments: RobustnessArguments, scene: SceneName, condition: str, chosen: Filter) -> Case:
    """Return the flights of one filter under one condition."""

    def flights(margin: float) -> Flights:
        case = (arguments.scenarios, arguments.seed, margin, arguments.steps)
        return fly(scene, chosen, *case, CONDITIONS[condition])

    first = found = flights(arguments.margins[0])
    needed = None
    for margin in arguments.margins:
        found = first if margin == arguments.margins[0] else flights(margin)
        if not (found.violation.any() or found.ended_early.any()):
            needed = margin
            break
    return Case(
        scene=scene,
        condition=condition,
        filter=chosen.name,
        clearance=tuple(np.sort(first.clearance).tolist()),
        flights_with_cost=float((first.violation > 0.0).mean()),
        violation=float(first.violation.mean()),
        uncertified=float(first.slack.mean()),
        ended_early=float(first.ended_early.mean()),
        returns=float(first.returns.mean()),
        margin_needed=needed,
        returns_there=None if needed is None else float(found.returns.mean()),
    )


def table(scene: str, cases: list[Case]) -> Table:
    """Return the table of one scene."""
    headings = (
        "condition", "filter", "worst clearance", "5 %", "median", "flights with cost",
        "steps inside", "uncertified", "ended early", "return", "margin needed", "return there",
    )  # fmt: skip
    shown = Table(*headings, title=scene)
    for case in cases:
        quantiles = (min(case.clearance), *np.quantile(case.clearance, (0.05, 0.5)))
        shares = (case.flights_with_cost, case.violation, case.uncertified, case.ended_early)
        shown.add_row(
            case.condition,
            case.filter,
            *(f"{quantile:.4f}" for quantile in quantiles),
            *(f"{share:.1%}" for share in shares),
            f"{case.returns:.2f}",
            "none" if case.margin_needed is None else f"{case.margin_needed:.2f} m",
            "" if case.returns_there is None else f"{case.returns_there:.2f}",
        )
    return shown


def draw(cases: list[Case], file: Path) -> None:
    """Write a PNG with the distribution of the clearance by condition and filter."""
    conditions = list(dict.fromkeys(case.condition for case in cases))
    figure = Figure(figsize=(12.0, 4.6), layout="constrained")
    axes = figure.subplots()
    handles = []
    for place, (name, color) in enumerate(zip(COMPARED, COLORS, strict=True)):
        chosen = [case for case in cases if case.filter == name]
        positions = [conditions.index(case.condition) + 0.2 * (place - 1.5) for case in chosen]
        boxes = axes.boxplot(
            [case.clearance for case in chosen], positions=positions, widths=0.16, whis=(0, 100),
            patch_artist=True, manage_ticks=False, medianprops={"color": "#222222"},
        )  # fmt: skip
        for box in boxes["boxes"]:
            box.set(facecolor=color, edgecolor="#333333")
        handles.append(boxes["boxes"][0])
    axes.axhline(0.0, color="#333333", linewidth=1.0)
    axes.set(title=cases[0].scene, ylabel="smallest clearance of a flight [m]")
    axes.set_xticks(range(len(conditions)), [name.replace(" ", "\n", 1) for name in conditions])
    axes.grid(True, axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(handles, COMPARED, fontsize=9, ncols=4, loc="lower left")
    write_png(figure, file, dpi=110)


def run(arguments: RobustnessArguments, console: Console) -> list[Case]:
    """Fly, print and write everything; return all cases.

    Raises:
        ValueError: for an unknown condition, or without margins.
    """
    unknown = [name for name in arguments.conditions if name not in CONDITIONS]
    if unknown:
        raise ValueError(f"conditions {unknown} are unknown; pass some of {list(CONDITIONS)}")
    if not arguments.margins:
        raise ValueError("margins is empty; pass at least one number >= 0 [m]")
    arguments.out.mkdir(parents=True, exist_ok=True)
    chosen = [each for each in FILTERS if each.name in COMPARED]
    everything: list[Case] = []
    for scene in arguments.scenes:
        cases = []
        for condition in arguments.conditions:
            cases += [study(arguments, scene, condition, each) for each in chosen]
        console.print(table(scene, cases))
        draw(cases, arguments.out / f"clearance_{scene}.png")
        everything += cases
    settings = asdict(arguments) | {"out": str(arguments.out)}
    record = {"arguments": settings, "cases": [asdict(case) for case in everything]}
    write_json(arguments.out / "results.json", record)
    console.print(f"written to {arguments.out}")
    return everything


def main(arguments: RobustnessArguments) -> None:
    """Run the study."""
    run(arguments, Console(width=170))


if __name__ == "__main__":
    main(
        tyro.cli(RobustnessArguments, prog=shell_command("baselines.experiments.filter_robustness"))
    )
