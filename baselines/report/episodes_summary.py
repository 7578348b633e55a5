"""The evaluated runs of an agent on one environment, summarized over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agents.cost_tails import CostTails, cost_tails
from baselines.jobs.episodic_job import EpisodicOutcome, EpisodicResult
from baselines.measures.episode_statistics import EpisodeStatistics, PolicyValues, shared_claims
from baselines.measures.statistics import (
    feasibility_rate,
    interquartile_mean,
    stratified_bootstrap_interval,
    violation_probability,
)

Mode = Literal["stochastic", "deterministic"]
MODES: tuple[Mode, ...] = ("stochastic", "deterministic")
Kind = Literal["exact", "sampled"]
KINDS: tuple[Kind, ...] = ("exact", "sampled")


@dataclass(frozen=True)
class SeedSummary:
    """Returns and costs of the seeds, either all exact or all means of sampled episodes."""

    iqm_return: float
    interval: tuple[float, float] | None  # bootstrap, 95 %; None for a single seed
    mean_cost: float  # of the constraint in question
    violation: float  # mean cost - limit
    feasibility_rate: float  # fraction of the seeds within all limits
    tails: CostTails  # over the seeds' costs


@dataclass(frozen=True)
class ModeSummary:
    """The final policies of the finished seeds in one mode.

    Costs are those of the constraint that is violated most on average over the seeds.
    """

    constraint: str
    limit: float
    sampled: SeedSummary
    exact: SeedSummary | None  # by the environment's tabular model; None unless all seeds have it
    episode_tails: CostTails  # over all sampled episodes of all seeds
    violating_episodes: float  # fraction of the sampled episodes above the limit
    length: float  # sampled

    def of_kind(self, kind: Kind) -> SeedSummary | None:
        """Return the exact or the sampled values, None if there are none of that kind."""
        return self.exact if kind == "exact" else self.sampled

    @property
    def claim(self) -> SeedSummary:
        """Exact values if there are any, else the sampled ones."""
        return self.sampled if self.exact is None else self.exact


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
    among those, the highest return. Policies are stochastic, as they were trained, and their values
    are exact where there is a model.
    """
    agents = dict.fromkeys(outcome.job.agent for outcome in outcomes)
    rows = [_summary(agent, [o for o in outcomes if o.job.agent == agent]) for agent in agents]
    return sorted(rows, key=_rank)


def _rank(row: EpisodesSummary) -> tuple[bool, bool, float]:
    seen = row.stochastic
    if seen is None:
        return True, True, 0.0
    return len(row.failures) > 0, seen.claim.violation > 0, -seen.claim.iqm_return


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
    limits = np.array(results[0].limits)
    sampled = [episodes.sampled for episodes in evaluations]
    claims = shared_claims(evaluations)
    i = int(np.argmax(np.mean([claim.costs for claim in claims], axis=0) - limits))
    all_costs = np.concatenate([np.array(episodes.costs)[:, i] for episodes in evaluations])
    return ModeSummary(
        constraint=results[0].constraint_names[i],
        limit=float(limits[i]),
        sampled=_seed_summary(sampled, limits, i),
        exact=_seed_summary(claims, limits, i) if claims[0].is_exact else None,
        episode_tails=cost_tails(all_costs),
        violating_episodes=violation_probability(all_costs, float(limits[i])),
        length=_mean([episodes.mean_length for episodes in evaluations]),
    )


def _seed_summary(
    claims: Sequence[PolicyValues], limits: np.ndarray, constraint: int
) -> SeedSummary:
    returns = np.array([claim.value for claim in claims])  # (seeds,)
    costs = np.array([claim.costs for claim in claims])  # (seeds, m)
    mean_cost = float(costs[:, constraint].mean())
    return SeedSummary(
        iqm_return=interquartile_mean(returns),
        interval=_interval(returns),
        mean_cost=mean_cost,
        violation=mean_cost - float(limits[constraint]),
        feasibility_rate=feasibility_rate(costs, limits.tolist()),
        tails=cost_tails(costs[:, constraint]),
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
