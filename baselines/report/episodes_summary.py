"""The evaluated runs of an agent on one environment, summarized over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agents.cost_tails import CostTails, cost_tails
from baselines.jobs.episodic_job import EpisodicOutcome, EpisodicResult
from baselines.measures.episode_statistics import EpisodeStatistics
from baselines.measures.statistics import (
    feasibility_rate,
    interquartile_mean,
    stratified_bootstrap_interval,
    violation_probability,
)

Mode = Literal["stochastic", "deterministic"]
MODES: tuple[Mode, ...] = ("stochastic", "deterministic")


@dataclass(frozen=True)
class ModeSummary:
    """The final policies of the finished seeds in one mode.

    Costs are those of the constraint that is violated most on average over the seeds.
    """

    iqm_return: float
    interval: tuple[float, float] | None  # bootstrap, 95 %; None for a single seed
    constraint: str
    limit: float
    mean_cost: float
    violation: float  # mean cost - limit
    feasibility_rate: float  # fraction of the seeds within all limits
    seed_tails: CostTails  # over the seeds' mean costs
    episode_tails: CostTails  # over all episodes of all seeds
    violating_episodes: float  # fraction of the episodes above the limit
    length: float
    exact_value: float | None  # mean over the seeds, by the environment's tabular model
    exact_violation: float | None  # of the same constraint


@dataclass(frozen=True)
class EpisodesSummary:
    """An agent on one environment."""

    agent: str
    seeds: int
    failures: tuple[str, ...]  # one reason per failed seed
    stochastic: ModeSummary | None  # None if no seed finished
    deterministic: ModeSummary | None
    steps_per_cpu_second: float  # mean
    cpu_seconds: float  # mean, of training

    @property
    def finished(self) -> int:
        """Number of seeds with a result."""
        return self.seeds - len(self.failures)

    def mode(self, mode: Mode) -> ModeSummary | None:
        """Return the summary of that mode."""
        return self.stochastic if mode == "stochastic" else self.deterministic


def episodes_of(result: EpisodicResult, mode: Mode) -> EpisodeStatistics:
    """Return the evaluation of a run in that mode."""
    return result.stochastic if mode == "stochastic" else result.deterministic


def summarize_episodic(outcomes: Sequence[EpisodicOutcome]) -> list[EpisodesSummary]:
    """Return one summary per agent of the outcomes on one environment.

    Agents without failed seeds come first; among those, agents within the limits on average;
    among those, the highest return. Policies are stochastic, as they were trained.
    """
    agents = dict.fromkeys(outcome.job.agent for outcome in outcomes)
    rows = [_summary(agent, [o for o in outcomes if o.job.agent == agent]) for agent in agents]
    return sorted(rows, key=_rank)


def _rank(row: EpisodesSummary) -> tuple[bool, bool, float]:
    seen = row.stochastic
    if seen is None:
        return True, True, 0.0
    return len(row.failures) > 0, seen.violation > 0, -seen.iqm_return


def _summary(agent: str, outcomes: Sequence[EpisodicOutcome]) -> EpisodesSummary:
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    return EpisodesSummary(
        agent=agent,
        seeds=len(outcomes),
        failures=tuple(outcome.reason for outcome in outcomes if outcome.result is None),
        stochastic=_mode_summary(results, "stochastic") if results else None,
        deterministic=_mode_summary(results, "deterministic") if results else None,
        steps_per_cpu_second=_mean([result.steps_per_cpu_second for result in results]),
        cpu_seconds=_mean([result.cpu_seconds for result in results]),
    )


def _mode_summary(results: Sequence[EpisodicResult], mode: Mode) -> ModeSummary:
    evaluations = [episodes_of(result, mode) for result in results]
    returns = np.array([episodes.mean_return for episodes in evaluations])  # (seeds,)
    seed_costs = np.array([episodes.mean_costs for episodes in evaluations])  # (seeds, m)
    limits = np.array(results[0].limits)
    i = int(np.argmax(seed_costs.mean(axis=0) - limits))
    all_costs = np.concatenate([np.array(episodes.costs)[:, i] for episodes in evaluations])
    exact = [episodes.exact for episodes in evaluations if episodes.exact is not None]
    return ModeSummary(
        iqm_return=interquartile_mean(returns),
        interval=_interval(returns),
        constraint=results[0].constraint_names[i],
        limit=float(limits[i]),
        mean_cost=float(seed_costs[:, i].mean()),
        violation=float(seed_costs[:, i].mean() - limits[i]),
        feasibility_rate=feasibility_rate(seed_costs, limits.tolist()),
        seed_tails=cost_tails(seed_costs[:, i]),
        episode_tails=cost_tails(all_costs),
        violating_episodes=violation_probability(all_costs, float(limits[i])),
        length=_mean([episodes.mean_length for episodes in evaluations]),
        exact_value=_mean([values.value for values in exact]) if exact else None,
        exact_violation=_mean([values.violation[i] for values in exact]) if exact else None,
    )


def _interval(returns: np.ndarray) -> tuple[float, float] | None:
    if len(returns) < 2:
        return None
    low, high = stratified_bootstrap_interval(
        returns, interquartile_mean, rng=np.random.default_rng(0)
    )
    return float(low), float(high)


def _mean(numbers: Sequence[float]) -> float:
    return float(np.mean(numbers)) if numbers else float("nan")
