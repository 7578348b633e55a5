"""Does the filter's metric matter for other vehicles, especially with an off-center mass?

    python -m baselines.experiments.off_center_vehicle

Paired flights with the safety filter in the Euclidean and the LQR metric, at orders 2 and 3. With
the mass in the middle of the rotors, both metrics correct a row of order 2 in the same way: the row
contains only the total thrust, whose direction is an eigenvector of the metric. An off-center mass
breaks this symmetry. The geometric controller flies and ignores obstacles; the returns of a pair
differ only because of the metric. The question comes from Lin and Xu, "Curvature-Guided Safety
Filters" (arXiv 2602.12603); the vehicles and everything else are this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_json
from baselines.experiments.quadrotor.flights import (
    FILTERS,
    Filter,
    Flights,
    fly,
)
from baselines.measures.statistics import paired_interval
from baselines.shell_command import shell_command
from safe_envs.quadrotor.reference import FIGURE_EIGHTS, FigureEight
from safe_envs.quadrotor.task import CONTROL_DT, SceneName
from safe_envs.quadrotor.vehicle import CRAZYFLIE, HUMMINGBIRD, Vehicle
from safe_envs.safety_filters import hover_metric

ORDERS = (2, 3)
METRICS = ("euclidean", "lqr")
SAME_RETURN = 1e-3  # smaller differences are rounding of the actions


class Flyer(NamedTuple):
    """A vehicle and what it follows."""

    vehicle: Vehicle
    reference: FigureEight


def off_center(vehicle: Vehicle, ahead: float, left: float) -> Vehicle:
    """Return the vehicle with its mass moved by fractions of the rotors' distance in x and y."""
    return vehicle.with_center_of_mass(ahead * vehicle.rotor_x[0], left * vehicle.rotor_y[-1])


FLYERS: Mapping[str, Flyer] = {
    "crazyflie": Flyer(CRAZYFLIE, FIGURE_EIGHTS["crazyflie"]),
    "crazyflie, mass 20 % ahead": Flyer(
        off_center(CRAZYFLIE, 0.2, 0.0), FIGURE_EIGHTS["crazyflie"]
    ),
    "crazyflie, mass 40 % ahead, 20 % left": Flyer(
        off_center(CRAZYFLIE, 0.4, 0.2), FIGURE_EIGHTS["crazyflie"]
    ),
    "hummingbird": Flyer(HUMMINGBIRD, FIGURE_EIGHTS["hummingbird"]),
    "hummingbird, mass 40 % ahead, 20 % left": Flyer(
        off_center(HUMMINGBIRD, 0.4, 0.2), FIGURE_EIGHTS["hummingbird"]
    ),
}


@dataclass(frozen=True)
class OffCenterArguments:
    """Fly the same scenarios with both metrics and every vehicle, and print the gains."""

    scenarios: int = 32
    """Number of starts and obstacle layouts, the same for both metrics."""
    seed: int = 0
    """Random seed of the scenarios."""
    scenes: tuple[SceneName, ...] = ("spheres", "column")
    """Scenes to fly in."""
    vehicles: tuple[str, ...] = tuple(FLYERS)
    """Vehicles to fly."""
    margin: float = 0.03
    """Added to the spheres' radii by the filters [m]."""
    steps: int | None = None
    """Steps of 0.01 s; None for once around the figure eight: 600 for the Crazyflie and 850 for
    the Hummingbird."""
    out: Path = Path("runs/off_center_vehicle")
    """Folder for results.json."""


def loss_saved_by_algebra(vehicle: Vehicle) -> float:
    """Return the fraction by which the LQR metric loses less when it corrects one row of order 2.

    The row is a = (1, 1, 1, 1). Corrections d with a'd = 1 lose d'W d: the nearest one in W loses
    1 / (a'W^-1 a), the nearest Euclidean one a'W a / (a'a)^2.
    """
    metric, row = hover_metric(vehicle, CONTROL_DT), np.ones(4)
    weighted = 1.0 / (row @ np.linalg.solve(metric, row))
    return float(1.0 - weighted / (row @ metric @ row / (row @ row) ** 2))


def flown(arguments: OffCenterArguments, scene: SceneName, flyer: Flyer, chosen: Filter) -> Flights:
    """Return the flights of one vehicle with one filter."""
    steps = arguments.steps or round(flyer.reference.period / CONTROL_DT)
    case = (arguments.scenarios, arguments.seed, arguments.margin, steps)
    return fly(scene, chosen, *case, conditions=flyer._asdict())


def compared(euclidean: Flights, weighted: Flights) -> dict[str, float]:
    """Return the figures of one pair of filters.

    The terminal penalty of a flight that ends early is much larger than what a metric changes, so
    the gain of the pairs in which both flights finish is included if there are at least two.
    """
    gain = paired_interval(weighted.returns, euclidean.returns)
    both = ~(euclidean.ended_early | weighted.ended_early)
    figures = {
        "gain": gain.mean,
        "gain_half_width": gain.half_width,
        "pairs_to_the_end": float(both.sum()),
        "largest_difference": float(np.abs(weighted.returns - euclidean.returns).max()),
        "wins": float((weighted.returns > euclidean.returns + SAME_RETURN).mean()),
    }
    if both.sum() > 1:
        to_the_end = paired_interval(weighted.returns[both], euclidean.returns[both])
        figures["gain_to_the_end"] = to_the_end.mean
        figures["gain_to_the_end_half_width"] = to_the_end.half_width
    for metric, flights in zip(METRICS, (euclidean, weighted), strict=True):
        figures |= {
            f"return_{metric}": float(flights.returns.mean()),
            f"violation_{metric}": float(flights.violation.mean()),
            f"slack_{metric}": float(flights.slack.mean()),
            f"clearance_{metric}": float(flights.clearance.min()),
            f"ended_early_{metric}": float(flights.ended_early.mean()),
        }
    return figures


def table(scene: str, rows: Mapping[str, Mapping[int, Mapping[str, float]]]) -> Table:
    """Return the figures as a table; pairs of cells are Euclidean / LQR."""
    shown = Table(
        "vehicle", "order", "return", "gain", "pairs that finish", "their gain", "wins",
        "steps in a sphere", "not certified", "worst clearance [m]", "ended early", title=scene,
    )  # fmt: skip
    forms = {
        "return": "{:.3f}",
        "violation": "{:.1%}",
        "slack": "{:.2%}",
        "clearance": "{:.4f}",
        "ended_early": "{:.0%}",
    }
    for name, orders in rows.items():
        for order, row in orders.items():
            pair = {
                key: " / ".join(form.format(row[f"{key}_{metric}"]) for metric in METRICS)
                for key, form in forms.items()
            }
            gain, to_the_end = (
                f"{row[key]:+.3f} +- {row[key + '_half_width']:.3f}" if key in row else ""
                for key in ("gain", "gain_to_the_end")
            )
            shown.add_row(
                name, str(order), pair["return"], gain, f"{row['pairs_to_the_end']:.0f}",
                to_the_end, f"{row['wins']:.0%}", pair["violation"], pair["slack"],
                pair["clearance"], pair["ended_early"],
            )  # fmt: skip
    return shown


def run(arguments: OffCenterArguments, console: Console) -> dict[str, Any]:
    """Fly, print and write everything; return what results.json holds.

    Raises:
        ValueError: if a vehicle is unknown.
    """
    unknown = sorted(set(arguments.vehicles) - set(FLYERS))
    if unknown:
        raise ValueError(f"unknown vehicles {unknown}; pass any of {', '.join(FLYERS)}")
    filters = {(each.order, each.metric): each for each in FILTERS}
    saved = {name: loss_saved_by_algebra(FLYERS[name].vehicle) for name in arguments.vehicles}
    results: dict[str, Any] = {
        "arguments": asdict(arguments) | {"out": str(arguments.out)},
        "loss_saved_by_algebra": saved,
    }
    for scene in arguments.scenes:
        rows: dict[str, dict[int, dict[str, float]]] = {}
        for name in arguments.vehicles:
            rows[name] = {
                order: compared(
                    *(
                        flown(arguments, scene, FLYERS[name], filters[order, metric])
                        for metric in METRICS
                    )
                )
                for order in ORDERS
            }
        results[scene] = rows
        console.print(table(scene, rows))
    for name, share in saved.items():
        console.print(f"{name}: one corrected row of order 2 loses {share:.1%} less (formula)")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "results.json", results)
    console.print(f"written to {arguments.out}")
    return results


def main(arguments: OffCenterArguments) -> None:
    """Run the comparison."""
    run(arguments, Console(width=200))


if __name__ == "__main__":
    main(
        tyro.cli(OffCenterArguments, prog=shell_command("baselines.experiments.off_center_vehicle"))
    )
