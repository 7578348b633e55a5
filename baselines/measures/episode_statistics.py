"""The evaluation episodes of one policy, and the numbers that summarize them."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agents.cost_tails import CostTails
from agents.evaluation_result import EvaluationResult
from agents.repair_count import RepairedShare


@dataclass(frozen=True)
class ExactValues:
    """Values of a policy by the environment's tabular model, without sampling."""

    value: float
    costs: list[float]  # (m,)
    violation: list[float]  # (m,) costs - limits


class PolicyValues(NamedTuple):
    """What a run claims of its policy: exact values where there is a model, else sampled means."""

    value: float
    costs: list[float]  # (m,)
    violation: list[float]  # (m,) costs - limits
    is_exact: bool

    @property
    def feasible(self) -> bool:
        """Whether no violation is above zero."""
        return max(self.violation) <= 0


@dataclass(frozen=True)
class EpisodeStatistics:
    """The episodes of one evaluation, in the order of the copies they ran in.

    Returns and costs are sums with the declared discounts; `plain_` ones are undiscounted. All
    numbers but `exact` are of the sampled episodes.
    """

    seed: int
    returns: list[float]  # (episodes,)
    costs: list[list[float]]  # (episodes, m)
    plain_returns: list[float]
    plain_costs: list[list[float]]
    lengths: list[int]
    mean_return: float
    mean_costs: list[float]  # (m,)
    violation: list[float]  # (m,) mean cost - limit
    feasible: bool  # no violation is above zero
    mean_plain_return: float
    mean_plain_costs: list[float]
    mean_length: float
    cost_tails: list[CostTails]  # (m,) over the episodes
    exact: ExactValues | None  # None if the environment has no tabular model
    repairs: RepairedShare | None = None  # of the actions of all steps, if the policy has a head

    def __post_init__(self) -> None:
        """Raise ValueError if the lists do not fit together."""
        episodes, m = len(self.returns), len(self.mean_costs)
        check_lengths(
            episodes,
            "episodes",
            costs=self.costs,
            plain_returns=self.plain_returns,
            plain_costs=self.plain_costs,
            lengths=self.lengths,
        )
        check_lengths(
            m,
            "constraints",
            violation=self.violation,
            mean_plain_costs=self.mean_plain_costs,
            cost_tails=self.cost_tails,
        )
        if episodes == 0 or m == 0 or any(len(c) != m for c in (*self.costs, *self.plain_costs)):
            raise ValueError(
                f"{episodes} episodes with costs of {m} constraints each do not fit together; at "
                "least one episode with one cost per constraint is needed"
            )
        if self.exact is not None:
            check_lengths(
                m, "constraints", exact_costs=self.exact.costs, exact_violation=self.exact.violation
            )

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.returns)

    @property
    def claim(self) -> PolicyValues:
        """Exact values if there are any, else the means of the episodes."""
        if self.exact is not None:
            return PolicyValues(self.exact.value, self.exact.costs, self.exact.violation, True)
        return self.sampled

    @property
    def sampled(self) -> PolicyValues:
        """The means of the episodes."""
        return PolicyValues(self.mean_return, self.mean_costs, self.violation, False)

    @property
    def standard_errors(self) -> list[float]:
        """Standard errors of the sampled mean return and costs, (1 + m,); nan for one episode."""
        sums = np.column_stack((self.returns, self.costs))
        if len(sums) < 2:
            return [float("nan")] * sums.shape[1]
        return (sums.std(axis=0, ddof=1) / np.sqrt(len(sums))).tolist()


def check_lengths(expected: int, noun: str, **lists: Sized) -> None:
    """Raise ValueError unless all lists have as many entries as there are episodes or constraints.

    Args:
        expected: how many.
        noun: what there are so many of.
        **lists: by name.
    """
    for name, entries in lists.items():
        if len(entries) != expected:
            raise ValueError(f"{name} has {len(entries)} entries for {expected} {noun}")


def shared_claims(evaluations: Sequence[EpisodeStatistics]) -> list[PolicyValues]:
    """Return the claims of several evaluations, at least one: all exact, or all sampled means."""
    claims = [episodes.claim for episodes in evaluations]
    if all(claim.is_exact for claim in claims):
        return claims
    return [episodes.sampled for episodes in evaluations]


def summarize_episodes(result: EvaluationResult, exact: ExactValues | None) -> EpisodeStatistics:
    """Return the statistics of evaluation episodes.

    Args:
        result: the episodes.
        exact: values by a model, if there is one.
    """
    return EpisodeStatistics(
        seed=result.seed,
        returns=result.returns.tolist(),
        costs=result.costs.tolist(),
        plain_returns=result.plain_returns.tolist(),
        plain_costs=result.plain_costs.tolist(),
        lengths=result.lengths.tolist(),
        mean_return=result.mean_return,
        mean_costs=result.mean_costs.tolist(),
        violation=result.violation.tolist(),
        feasible=result.feasible,
        mean_plain_return=result.mean_plain_return,
        mean_plain_costs=result.mean_plain_costs.tolist(),
        mean_length=result.mean_length,
        cost_tails=result.cost_tails,
        exact=exact,
        repairs=result.repairs,
    )
