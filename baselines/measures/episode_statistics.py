"""The evaluation episodes of one policy, and the numbers that summarize them."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass

from agents.cost_tails import CostTails
from agents.evaluation_result import EvaluationResult


@dataclass(frozen=True)
class ExactValues:
    """Values of a policy by the environment's tabular model, without sampling."""

    value: float
    costs: list[float]  # (m,)
    violation: list[float]  # (m,) costs - limits


@dataclass(frozen=True)
class EpisodeStatistics:
    """The episodes of one evaluation, in the order of the copies they ran in.

    Returns and costs are sums with the declared discounts; `plain_` ones are undiscounted.
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
