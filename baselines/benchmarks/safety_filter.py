"""The safety filter's speed: its quadratic program and cvxpy, whole steps, and batches.

`python -m baselines.benchmarks.safety_filter`, and at the end of
`python -m baselines.benchmarks.quadrotor`. One thread, three tables: `filter_against_cvxpy`; what
the filter adds to a step of a single environment, `info["filter_time"]`; and `filter_batch` on N
states at once, compared with the same states one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from baselines.benchmarks.environments import fastest_turns
from baselines.benchmarks.filter_against_cvxpy import HIGH, LOW, print_programs
from baselines.experiments.quadrotor.flights import Filter, filter_times
from baselines.shell_command import shell_command
from safe_envs.quadrotor.geometric_controller import GeometricLaw
from safe_envs.quadrotor.task import CONTROL_DT, SceneName
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.quadrotor.vehicle import CRAZYFLIE
from safe_envs.safety_filters import (
    SphereRows,
    SphereZCBF,
    VectorSafetyFilter,
    Weight,
    filter_batch,
    hover_metric,
    weight_of,
)
from safe_envs.safety_filters.quadratic_program import solve

MARGIN = 0.03  # [m]
SCENES: tuple[SceneName, ...] = ("spheres", "column")


@dataclass(frozen=True)
class SafetyFilterArguments:
    """Print times of the safety filter and their ratios to cvxpy and to single states."""

    programs: int = 200
    """Random active programs of each kind."""
    repeats: int = 3
    """Turns on every program and batch."""
    steps: int = 600
    """Steps of the flights whose filter is timed."""
    states: int = 1024
    """States filtered together."""


class FlightStates(NamedTuple):
    """States from filtered flights, with the controller's thrusts there."""

    states: np.ndarray  # (13, n)
    references: np.ndarray  # (4, n)
    centers: np.ndarray  # (obstacles, 3, n) [m]
    radii: np.ndarray  # (obstacles,) [m]

    def rows(self, chosen: np.ndarray) -> SphereRows:
        """Return the rows around the spheres of the states with these numbers."""
        barrier = SphereZCBF(3, margin=MARGIN)
        return barrier.around(CRAZYFLIE, CONTROL_DT, self.centers[:, :, chosen], self.radii)


def main(arguments: SafetyFilterArguments) -> None:
    """Measure and print the tables."""
    print_tables(Console(width=140), arguments)


def print_tables(console: Console, arguments: SafetyFilterArguments) -> None:
    """Measure and print the tables; without cvxpy, all except its comparison."""
    with threadpool_limits(1):
        try:
            print_programs(console, arguments.programs, arguments.repeats)
        except ImportError as error:
            console.print(str(error), markup=False)  # "[dev]" is not a style
        print_steps(console, arguments.steps)
        print_batches(console, arguments.states, arguments.repeats)


def print_steps(console: Console, steps: int) -> None:
    """Print what the filter adds to a step of a single environment."""
    table = Table(title=f'info["filter_time"] of one flight of {steps} steps, lqr metric')
    table.add_column("scene", no_wrap=True)
    for heading in ("order", "p50 [us]", "p99 [us]"):
        table.add_column(heading, justify="right")
    for scene in SCENES:
        for order in (2, 3):
            chosen = Filter(f"order {order}, lqr", order, "lqr")
            times = filter_times(scene, chosen, seed=0, margin=MARGIN, steps=steps)
            p50, p99 = 1e6 * np.percentile(times, (50, 99))
            table.add_row(scene, str(order), f"{p50:.0f}", f"{p99:.0f}")
    console.print(table)


def print_batches(console: Console, count: int, repeats: int) -> None:
    """Print the batched filter's times with few and many unsafe references, order 3."""
    weight = weight_of(hover_metric(CRAZYFLIE, CONTROL_DT))
    table = Table(title=f"filter_batch, order 3, CPU us per state, N = {count}")
    table.add_column("scene", no_wrap=True)
    for heading in ("active", "batch", "one at a time", "ratio"):
        table.add_column(heading, justify="right")
    for scene in SCENES:
        met = flown_states(scene, seed=0)
        for chosen in samples(met, weight, count):
            parts, active = batch_parts(met, chosen, weight)
            together, alone = fastest_turns([(part, 1) for part in parts], repeats)
            cells = [f"{1e6 * seconds / count:.2f}" for seconds in (together, alone)]
            table.add_row(scene, f"{100 * active:.0f} %", *cells, f"{alone / together:.1f}x")
    console.print(table)


def flown_states(
    scene: SceneName, seed: int, flights: int = 128, every: int = 20, steps: int = 600
) -> FlightStates:
    """Return every twentieth state of filtered flights of the geometric controller."""
    flight = QuadrotorVectorEnv(flights, None, scene=scene)
    env = VectorSafetyFilter(flight, SphereZCBF(3, margin=MARGIN), "lqr")
    controller = GeometricLaw(flight.vehicle, flight.reference, flight.control_dt)
    env.reset(seed=seed)
    kept = []
    for step in range(steps):
        u = controller.batch(flight.states, flight.times)
        if step % every == 0:
            kept.append((flight.states, u, flight.centers))
        env.step(flight.actions_of(u))
    states, references, centers = (
        np.concatenate(part, axis=-1) for part in zip(*kept, strict=True)
    )
    return FlightStates(states, references, centers, flight.radii)


def samples(met: FlightStates, weight: Weight, count: int) -> list[np.ndarray]:
    """Return the numbers of `count` states of safe references, of all, and of unsafe ones."""
    every = np.arange(met.states.shape[1])
    active = filter_batch(met.rows(every), weight, met.states, met.references).active
    rng = np.random.default_rng(0)
    return [rng.choice(group, count) for group in (every[~active], every, every[active])]


def batch_parts(
    met: FlightStates, chosen: np.ndarray, weight: Weight
) -> tuple[list[Callable[[], object]], float]:
    """Return functions that filter states together and one at a time, and the active share."""
    rows = met.rows(chosen)
    states = np.ascontiguousarray(met.states[:, chosen])
    references = np.ascontiguousarray(met.references[:, chosen])
    singles = [
        (rows.of(i), np.ascontiguousarray(states[:, i]), np.ascontiguousarray(references[:, i]))
        for i in range(len(chosen))
    ]

    def together() -> None:
        filter_batch(rows, weight, states, references)

    def alone() -> None:
        for barrier, state, reference in singles:
            solve(weight, reference, *barrier(state, reference), LOW, HIGH)

    active = filter_batch(rows, weight, states, references).active
    return [together, alone], float(active.mean())


if __name__ == "__main__":
    main(tyro.cli(SafetyFilterArguments, prog=shell_command("baselines.benchmarks.safety_filter")))
