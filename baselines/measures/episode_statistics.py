"""The evaluation episodes of one policy, and the numbers that summarize them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from agents.cost_tails import CostTails
from agents.evaluation_result import EvaluationResult


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

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EpisodeStatistics:
        """Return the statistics that `dataclasses.asdict` turned into JSON."""
        exact = data["exact"]
        parts = {
            "cost_tails": [CostTails(**tails) for tails in data["cost_tails"]],
            "exact": None if exact is None else ExactValues(**exact),
        }
        return cls(**{**data, **parts})


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
    )
