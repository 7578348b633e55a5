"""What the report shows of deep agents and controllers on one environment: plots, summaries."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from baselines.jobs.training_job import TrainingOutcome, TrainingResult
from baselines.measures.learning_curve import TIMESTEPS, LearningCurve, read_learning_curve
from baselines.names.environments import EnvironmentName
from baselines.report.learning_curve_plots import draw_learning_curves, draw_pareto
from baselines.report.training_summary import TrainingSummary, summarise_training

EPISODE_VALUE = "rollout/ep_value_mean"  # the return with the declared discount


@dataclass(frozen=True)
class TrainingSection:
    """Plots and summaries of the deep agents and controllers on one environment."""

    name: str
    rows: Sequence[TrainingSummary]
    outcomes: Sequence[TrainingOutcome]
    constraint_names: Sequence[str]
    limits: Sequence[float]
    reward_discount: float
    cost_discounts: Sequence[float]
    episodes: int  # of either evaluation
    curves: Path | None  # SVG file; None if there is nothing to draw
    pareto: Sequence[Path]  # one per constraint
    notes: Sequence[str]  # what is missing in the plots

    @property
    def heading(self) -> str:
        """What kinds of agents there are."""
        kinds = {outcome.job.trains for outcome in self.outcomes}
        if len(kinds) == 2:
            return "Deep agents and controllers"
        return "Deep agents" if True in kinds else "Controllers"

    @property
    def has_exact(self) -> bool:
        """Whether there are values by a tabular model."""
        return any(row.stochastic and row.stochastic.exact_value is not None for row in self.rows)


def training_section(
    out: Path, env: EnvironmentName, outcomes: Sequence[TrainingOutcome]
) -> TrainingSection:
    """Draw the plots and return the section.

    Args:
        out: folder of the comparison.
        env: the environment.
        outcomes: of the deep agents and controllers on it, failed ones included; at least one.
    """
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    first = results[0] if results else None
    stem = out / "plots" / env.slug
    notes: list[str] = []
    return TrainingSection(
        name=str(env),
        rows=summarise_training(outcomes),
        outcomes=outcomes,
        constraint_names=first.constraint_names if first else [],
        limits=first.limits if first else [],
        reward_discount=first.reward_discount if first else 1.0,
        cost_discounts=first.cost_discounts if first else [],
        episodes=outcomes[0].job.evaluation_episodes,
        curves=_draw_curves(out, env, outcomes, stem, notes),
        pareto=_draw_pareto(env, results, stem),
        notes=notes,
    )


def run_curve(folder: Path, result: TrainingResult) -> LearningCurve:
    """Return the learning curve of a run, all sums with the declared discounts.

    Raises:
        ValueError: if no episode ended during training.
    """
    file = folder / "progress.csv"
    curve = read_learning_curve(file, result.agent, result.seed, result.constraint_names)
    if result.reward_discount == 1.0:
        return curve
    with file.open(newline="", encoding="utf-8") as rows:
        values = {
            float(row[TIMESTEPS]): float(row[EPISODE_VALUE])
            for row in csv.DictReader(rows)
            if row[TIMESTEPS] and row[EPISODE_VALUE]
        }
    return replace(curve, episode_return=np.array([values[t] for t in curve.timesteps]))


def _draw_curves(
    out: Path,
    env: EnvironmentName,
    outcomes: Sequence[TrainingOutcome],
    stem: Path,
    notes: list[str],
) -> Path | None:
    curves: list[LearningCurve] = []
    trained = [o for o in outcomes if o.job.trains]
    results = [(o.job.folder(out), o.result) for o in trained if o.result is not None]
    for folder, result in results:
        try:
            curves.append(run_curve(folder, result))
        except ValueError as error:
            notes.append(f"no learning curve of {result.agent}, seed {result.seed}: {error}")
    if not curves:
        return None
    path = stem.with_name(f"{stem.name}_curves")
    names, limits = results[0][1].constraint_names, results[0][1].limits
    try:
        draw_learning_curves(f"{env}: training", curves, limits, path, names)
    except ValueError as error:
        notes.append(f"no learning curves: {error}")
        return None
    return path.with_name(f"{path.name}.svg")


def _draw_pareto(env: EnvironmentName, results: Sequence[TrainingResult], stem: Path) -> list[Path]:
    """Draw return against cost of the final stochastic policies, one plot per constraint."""
    paths = []
    for i, name in enumerate(results[0].constraint_names if results else ()):
        points = {
            agent: np.array(
                [
                    (r.stochastic.mean_costs[i], r.stochastic.mean_return)
                    for r in results
                    if r.agent == agent
                ]
            )
            for agent in dict.fromkeys(result.agent for result in results)
        }
        several = len(results[0].limits) > 1
        path = stem.with_name(f"{stem.name}_pareto" + (f"_{i}" if several else ""))
        label = f"cost: {name}" if several else "cost"
        draw_pareto(f"{env}: final policies", points, results[0].limits[i], path, label)
        paths.append(path.with_name(f"{path.name}.svg"))
    return paths
