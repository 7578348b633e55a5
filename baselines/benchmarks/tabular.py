"""Cost of exact policy evaluation, and of a whole PQA-ALM run.

`python -m baselines.benchmarks.tabular`. One BLAS thread. What a table compares takes turns and
the least CPU time of each counts, so that ratios hold on a busy machine as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from agents.tabular.pqa_alm import pqa_alm
from baselines.benchmarks.environments import fastest_turns
from baselines.names.environments import parse_environment_name, tabular_model_of
from baselines.shell_command import shell_command
from safe_envs.tabular.model import TabularCMDP
from safe_envs.tabular.random_cmdp import random_cmdp

CLIFF, DEEP_SEA = "Safe/CliffWorld-v0", "Safe/DeepSeaTreasure-v0"
RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    (CLIFF, {"step_rule": "monotone"}),
    (CLIFF, {"step_rule": "fixed", "step_size": 1.0, "penalty": 10.0}),
    (DEEP_SEA, {"step_rule": "monotone"}),
    (DEEP_SEA, {"step_rule": "fixed", "step_size": 1.0, "penalty": 10.0}),
)
ACTIONS = 4
BRANCHING = 5  # successors per state and action of the sparse problems


@dataclass(frozen=True)
class TabularArguments:
    """Print the CPU time of PQA-ALM runs and of one policy evaluation by number of states."""

    states: tuple[int, ...] = (25, 100, 400, 1600)
    """Sizes of the random CMDPs."""
    evaluations: int = 10_000
    """Policy evaluations of one PQA-ALM run."""
    repeats: int = 3
    """Turns of every part; the fastest counts."""


def main(arguments: TabularArguments) -> None:
    """Measure and print both tables."""
    console = Console(width=100)
    with threadpool_limits(1):
        console.print(_run_table(run_seconds(arguments.evaluations, arguments.repeats), arguments))
        dense = evaluation_seconds(arguments.states, None, arguments.repeats)
        sparse = evaluation_seconds(arguments.states, BRANCHING, arguments.repeats)
        console.print(_size_table(arguments.states, dense, sparse))


def run_seconds(evaluations: int, repeats: int) -> list[float]:
    """Return the CPU seconds of each of `RUNS`."""
    parts: list[tuple[Callable[[], object], int]] = []
    for env, settings in RUNS:
        model = tabular_model_of(parse_environment_name(env))
        parts.append((partial(pqa_alm, model, evaluations, **settings), 1))
    return fastest_turns(parts, repeats)


def evaluation_seconds(states: tuple[int, ...], branching: int | None, repeats: int) -> list[float]:
    """Return the CPU seconds of one exact policy evaluation, by number of states."""
    parts: list[tuple[Callable[[], object], int]] = []
    for count in states:
        model = random_cmdp(count, ACTIONS, 1, 0, branching)
        parts.append((partial(TabularCMDP.evaluate, model, model.uniform_policy()), _calls(count)))
    return fastest_turns(parts, repeats)


def fitted_exponent(states: tuple[int, ...], seconds: list[float]) -> float:
    """Return the p of the least-squares fit seconds ~ states^p on logarithmic scales."""
    return float(np.polyfit(np.log(states), np.log(seconds), 1)[0])


def _calls(states: int) -> int:
    return max(1, 8_000 // states)


def _run_table(seconds: list[float], arguments: TabularArguments) -> Table:
    table = Table(title=f"PQA-ALM, {arguments.evaluations:,} policy evaluations")
    table.add_column("environment", no_wrap=True)
    table.add_column("step rule")
    for heading in ("CPU seconds", "us per evaluation", "to the first row"):
        table.add_column(heading, justify="right")
    for (env, settings), spent in zip(RUNS, seconds, strict=True):
        each = f"{spent / arguments.evaluations * 1e6:.1f}"
        ratio = f"{spent / seconds[0]:.2f}x"
        table.add_row(env, settings["step_rule"], f"{spent:.3f}", each, ratio)
    return table


def _size_table(states: tuple[int, ...], dense: list[float], sparse: list[float]) -> Table:
    table = Table(title=f"One policy evaluation, {ACTIONS} actions, 1 constraint: CPU microseconds")
    for heading in ("states", "dense", f"{BRANCHING} successors", "dense / sparse"):
        table.add_column(heading, justify="right")
    for count, full, few in zip(states, dense, sparse, strict=True):
        ratio = f"{full / few:.1f}x"
        table.add_row(f"{count}", f"{full * 1e6:.1f}", f"{few * 1e6:.1f}", ratio)
    table.add_section()
    for label, part in (("exponent", slice(None)), ("exponent, last two", slice(-2, None))):
        if len(states[part]) > 1:
            fits = [fitted_exponent(states[part], times[part]) for times in (dense, sparse)]
            table.add_row(label, *(f"{fit:.2f}" for fit in fits), "")
    return table


if __name__ == "__main__":
    main(tyro.cli(TabularArguments, prog=shell_command("baselines.benchmarks.tabular")))
