"""Is learning behind a safety filter, or with a head, safe from its first step?

    python -m baselines.experiments.learning_behind_a_filter
    python -m baselines.experiments.learning_behind_a_filter --plant double_integrator

Trains PPO and PPOLag without protection, behind the safety filter and with a head that repairs
their actions, and adds up what the training itself cost. The plants are the quadrotor among
spheres, with the filter of order 3 (`Safe/QuadrotorZCBF-v0`), the double integrator, and the
unicycle in the scene of HardNet, whose published costs are sums of -reward. A second
run with the same folder trains only what is missing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from baselines.atomic_files import write_json
from baselines.commands.compare import CompareOptions, finished_jobs
from baselines.jobs.episodic_job import EpisodicResult
from baselines.measures.learning_curve import LearningCurve, read_learning_curve, seed_band
from baselines.report.plots import write_png
from baselines.shell_command import shell_command
from safe_envs.safety_filters import SafetyFilter

Plant = Literal["quadrotor", "double_integrator", "unicycle"]
FREE, FILTER, HEAD = "no filter", "filter", "head"
ENVIRONMENTS: dict[Plant, dict[str, str]] = {
    "quadrotor": {FREE: "Safe/Quadrotor-v0", FILTER: "Safe/QuadrotorZCBF-v0"},
    "double_integrator": {
        FREE: "Safe/DoubleIntegrator-v0",
        FILTER: "baselines.experiments.learning_behind_a_filter:filtered_double_integrator",
    },
    "unicycle": {
        FREE: "Safe/UnicycleCBF-v0?scene=hardnet",
        FILTER: "baselines.experiments.learning_behind_a_filter:filtered_unicycle",
    },
}
COLORS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7")
EARLY = 0.1  # part of the training whose cost is also reported separately


@dataclass(frozen=True)
class FilteredLearningArguments:
    """Train without protection, with the filter and with a head; report what the training cost."""

    plant: Plant = "quadrotor"
    """What to train on."""
    agents: tuple[str, ...] = ("PPO", "PPOLag")
    """Names of deep agents."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Random seeds."""
    total_timesteps: int = 600_000
    """Environment steps per run."""
    workers: int = 2
    """Worker processes, one thread each."""
    out: Path = Path("runs/learning_behind_a_filter")
    """Folder of the runs by plant, their reports, summary.json and training.png."""


class TrainingCost(NamedTuple):
    """What the finished episodes of a training cost."""

    episodes: int
    total: float  # cost of all episodes except those that end in the last rollout
    early: float  # of those in the first tenth of the steps


class Row(NamedTuple):
    """An agent with one kind of protection, means over the seeds."""

    agent: str
    filter: str  # "no filter", "filter" or "head"
    seeds: int
    returns: float  # of the final policy's most likely actions
    cost: float  # of the same
    cost_stochastic: float
    training_cost: float  # sum over all episodes
    training_cost_early: float
    training_episodes: float
    steps_per_cpu_second: float
    repair_rate: float | None  # share of the final policy's sampled actions that a head changed
    unmet_rate: float | None  # share of those that meet no constraint, because no action does


def filtered_double_integrator(**arguments: Any) -> gym.Env:
    """Return the double integrator behind the safety filter; arguments are the environment's."""
    return SafetyFilter(gym.make("Safe/DoubleIntegrator-v0", **arguments))


def filtered_unicycle(**arguments: Any) -> gym.Env:
    """Return the unicycle in HardNet's scene behind the safety filter."""
    env = gym.make("Safe/UnicycleCBF-v0", **{"scene": "hardnet", **arguments})
    return SafetyFilter(env, metric="euclidean")


def training_cost(progress_csv: Path, limit: float) -> TrainingCost:
    """Return the summed cost of a training's episodes, from what its rollouts measured.

    Every row holds the number of episodes that ended in the previous rollout and the difference of
    their mean cost and the limit.

    Args:
        progress_csv: of a run with one constraint.
        limit: of the episode cost.
    """
    episodes, total, early = 0, 0.0, 0.0
    with progress_csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    end = float(rows[-1]["time/total_timesteps"])
    for row in rows:
        if row["constraint/episodes"] and row["constraint/violation"]:
            count = int(float(row["constraint/episodes"]))
            cost = count * (float(row["constraint/violation"]) + limit)
            episodes, total = episodes + count, total + cost
            if float(row["time/total_timesteps"]) <= EARLY * end:
                early += cost
    return TrainingCost(episodes, total, early)


def summary(agent: str, name: str, results: list[EpisodicResult], costs: list[TrainingCost]) -> Row:
    """Return the means over the seeds of an agent with one kind of protection."""
    repairs = [one for one in (result.stochastic.repairs for result in results) if one is not None]
    return Row(
        agent=agent,
        filter=name,
        seeds=len(results),
        returns=_mean([np.mean(result.deterministic.returns) for result in results]),
        cost=_mean([np.mean(result.deterministic.costs) for result in results]),
        cost_stochastic=_mean([np.mean(result.stochastic.costs) for result in results]),
        training_cost=_mean([cost.total for cost in costs]),
        training_cost_early=_mean([cost.early for cost in costs]),
        training_episodes=_mean([cost.episodes for cost in costs]),
        steps_per_cpu_second=_mean([result.steps_per_cpu_second for result in results]),
        repair_rate=_mean([one.rate for one in repairs]) if repairs else None,
        unmet_rate=_mean([one.infeasible_rate for one in repairs]) if repairs else None,
    )


def table(rows: list[Row]) -> Table:
    """Return the summary as a table."""
    headings = (
        "agent", "", "seeds", "return", "cost", "cost with noise", "cost of the training",
        "of its first tenth", "episodes", "steps per CPU second", "repaired",
    )  # fmt: skip
    shown = Table(*headings, title="final policies, and what their training cost")
    for row in rows:
        shown.add_row(
            row.agent, row.filter, str(row.seeds), f"{row.returns:.2f}", f"{row.cost:.2f}",
            f"{row.cost_stochastic:.2f}", f"{row.training_cost:,.0f}",
            f"{row.training_cost_early:,.0f}", f"{row.training_episodes:,.0f}",
            f"{row.steps_per_cpu_second:,.0f}",
            "" if row.repair_rate is None else f"{row.repair_rate:.1%}",
        )  # fmt: skip
    return shown


def run(arguments: FilteredLearningArguments, console: Console) -> list[Row]:
    """Train what is missing, print and write the summary; return its rows."""
    found: dict[tuple[str, str], tuple[list[EpisodicResult], list[TrainingCost]]] = {}
    curves: list[LearningCurve] = []
    for name in (FREE, FILTER, HEAD):
        for job, result, folder in finished_jobs(_options(arguments, name), console):
            progress = folder / "progress.csv"
            results, costs = found.setdefault((job.agent, name), ([], []))
            results.append(result)
            costs.append(training_cost(progress, result.limits[0]))
            label = f"{job.agent}, {name}"
            curves.append(read_learning_curve(progress, label, job.seed, result.constraint_names))
    rows = [summary(agent, name, *each) for (agent, name), each in found.items()]
    folder = arguments.out / arguments.plant
    write_json(folder / "summary.json", {"rows": [row._asdict() for row in rows]})
    if curves:
        draw(curves, folder / "training.png")
    console.print(table(rows))
    return rows


def _options(arguments: FilteredLearningArguments, name: str) -> CompareOptions:
    """Return the comparison of the agents with one kind of protection, in a folder of its own."""
    environments = ENVIRONMENTS[arguments.plant]
    return CompareOptions(
        envs=(environments.get(name, environments[FREE]),),
        agents=arguments.agents,
        out=arguments.out / arguments.plant / name.replace(" ", "_"),
        seeds=arguments.seeds,
        total_timesteps=arguments.total_timesteps,
        workers=arguments.workers,
        overrides=tuple(f"{agent}.head=wrapper" for agent in arguments.agents if name == HEAD),
        title=f"Learning with: {name}",
    )


def draw(curves: list[LearningCurve], file: Path) -> None:
    """Write a PNG with return and cost of recent episodes: mean, lowest and highest seed."""
    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    labels = list(dict.fromkeys(curve.agent for curve in curves))
    for label, color in zip(labels, COLORS * len(labels), strict=False):
        own = [curve for curve in curves if curve.agent == label]
        for axes, values in zip(
            panels,
            ([c.episode_return for c in own], [c.episode_cost[:, 0] for c in own]),
            strict=True,
        ):
            band = seed_band([curve.timesteps for curve in own], values)
            axes.fill_between(band.timesteps, band.lowest, band.highest, color=color, alpha=0.2)
            axes.plot(band.timesteps, band.mean, color=color, label=label, linewidth=2.0)
    for axes, quantity in zip(panels, ("return", "cost"), strict=True):
        axes.set(xlabel="steps", ylabel=f"{quantity} of recent episodes")
        axes.grid(True, color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
    panels[0].legend(fontsize=9)
    write_png(figure, file, dpi=130)


def _mean(values: Sequence[float | np.floating]) -> float:
    return float(np.mean([float(value) for value in values]))


def main(arguments: FilteredLearningArguments) -> None:
    """Run the experiment."""
    run(arguments, Console(width=150))


if __name__ == "__main__":
    main(
        tyro.cli(
            FilteredLearningArguments,
            prog=shell_command("baselines.experiments.learning_behind_a_filter"),
        )
    )
