"""Constraint layers: time of repair by Levenberg-Marquardt steps against projection by cvxpylayers.

`python -m baselines.benchmarks.constraint_layers [--repeats N]`. One thread, batches of 64, forward
and backward. The layers take turns on the same raw outputs y ~ N(0, 1), so that the ratios of their
medians hold on a busy machine as well; SCS comes last, because it slows down all others in its
process. They do not compute the same: the projection is the nearest
feasible point, the repair ends near it; "distance" is |y - raw| in shares of the projection's.

- LM active, LM all: `agents.constraint_layers.RepairLayer`, tolerance 1e-6;
- MOREAU: `agents.constraint_layers.ProjectionLayer`;
- SCS: cvxpylayers with its default solver and tolerance, which leaves violations of 1e-3;
- DAQP, qpth and others solve programs without quadratic constraints and are left out.

Needs cvxpylayers and moreau, the packages of the extra `opt`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits
from torch import nn

from agents.constraint_layers import ProjectionLayer, RepairLayer, RepairSettings
from baselines.shell_command import shell_command
from safe_envs.control.quadratic_families import QuadraticFamily, snarenet

SIZES = ((20, 10, 10), (50, 25, 25))  # outputs, equalities, inequalities, half of them quadratic
BATCH = 64
SEED = 1
REFERENCE = "LM active"
LAST = "SCS"  # after its first call every other layer takes two to three times as long


@dataclass(frozen=True)
class LayerSpeedArguments:
    """Print times of constraint layers, and ratios to the repair with active rows."""

    repeats: int = 10
    """Timed calls of each layer."""


class LayerTimes(NamedTuple):
    """Figures of one layer."""

    forward: float  # median CPU seconds
    both: float  # median CPU seconds, forward and backward
    violation: float  # largest
    distance: float  # mean |y - raw|


def layers_of(family: QuadraticFamily) -> dict[str, nn.Module]:
    """Return the layers to compare, by name."""
    example = torch.tensor(family.instances[0])
    return {
        REFERENCE: RepairLayer(family.rows),
        "LM all": RepairLayer(family.rows, RepairSettings("all", max_iterations=500)),
        "MOREAU": ProjectionLayer(family.rows, example),
        LAST: ProjectionLayer(family.rows, example, "SCS default"),
    }


def compare(sizes: tuple[int, int, int], repeats: int) -> dict[str, LayerTimes]:
    """Time the layers in turns on one family; `LAST` by itself, after the others."""
    n, m, k = sizes
    family = snarenet(n, m, k, quadratic=k // 2, seed=SEED)
    layers = layers_of(family)
    x = torch.tensor(family.instances[:BATCH])
    rng = np.random.default_rng(SEED)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
    last: dict[str, tuple[float, float]] = {}
    turns = [[name for name in layers if name != LAST], [LAST]]
    for names, repeat in itertools.product(turns, range(-1, repeats)):  # -1 fills caches
        given = rng.standard_normal((BATCH, n))
        for name in names:
            raw = torch.tensor(given, requires_grad=True)
            started = time.process_time()
            outputs, info = layers[name](raw, x)
            between = time.process_time()
            outputs.sum().backward()
            ended = time.process_time()
            if repeat >= 0:
                seconds[name].append((between - started, ended - started))
            distance = (outputs - raw).detach().norm(dim=-1).mean()
            last[name] = float(info.violation.max()), float(distance)
    found = {}
    for name, times in seconds.items():
        forward, both = np.median(times, axis=0).tolist()
        found[name] = LayerTimes(forward, both, *last[name])
    return found


def table(sizes: tuple[int, int, int], measured: dict[str, LayerTimes]) -> Table:
    """Return a row per layer."""
    shown = "/".join(map(str, sizes))
    found = Table(title=f"n/equalities/inequalities {shown}, batch of {BATCH}, one thread")
    found.add_column("layer")
    headings = ("forward [CPU ms]", "both [CPU ms]", f"both / {REFERENCE}", "violation", "distance")
    for heading in headings:
        found.add_column(heading, justify="right")
    base, nearest = measured[REFERENCE], measured["MOREAU"].distance
    shapes: list[Callable[[LayerTimes], str]] = [
        lambda one: f"{one.forward * 1e3:.1f}",
        lambda one: f"{one.both * 1e3:.1f}",
        lambda one: f"{one.both / base.both:.1f}x",
        lambda one: f"{one.violation:.0e}",
        lambda one: f"{one.distance / nearest:.2f}",
    ]
    for name, one in measured.items():
        found.add_row(name, *(shape(one) for shape in shapes))
    return found


def main(arguments: LayerSpeedArguments) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for sizes in SIZES:
            Console(width=110).print(table(sizes, compare(sizes, arguments.repeats)))


if __name__ == "__main__":
    main(
        tyro.cli(LayerSpeedArguments, prog=shell_command("baselines.benchmarks.constraint_layers"))
    )
