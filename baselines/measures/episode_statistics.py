"""The evaluation episodes of one policy, and the numbers that summarize them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from baselines.measures.statistics import CostTails, cost_tails


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

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.returns)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EpisodeStatistics:
        """Return the statistics that `dataclasses.asdict` turned into JSON."""
        exact = data["exact"]
        parts = {
            "cost_tails": [CostTails(**tails) for tails in data["cost_tails"]],
            "exact": None if exact is None else ExactValues(**exact),
        }
        return cls(**{**data, **parts})


@dataclass(frozen=True)
class Episodes:
    """Sums over evaluation episodes; the first column is the reward, the others are the costs."""

    sums: np.ndarray  # (episodes, 1 + m) with the declared discounts
    plain_sums: np.ndarray  # (episodes, 1 + m) undiscounted
    lengths: np.ndarray  # (episodes,)


def summarize_episodes(
    episodes: Episodes, limits: Sequence[float], seed: int, exact: ExactValues | None
) -> EpisodeStatistics:
    """Return the statistics of evaluation episodes.

    Args:
        episodes: at least one.
        limits: one per constraint, (m,).
        seed: of the evaluation.
        exact: values by a model, if there is one.
    """
    returns, costs = episodes.sums[:, 0], episodes.sums[:, 1:]
    mean_costs = costs.mean(axis=0)
    violation = mean_costs - np.asarray(limits)
    return EpisodeStatistics(
        seed=seed,
        returns=returns.tolist(),
        costs=costs.tolist(),
        plain_returns=episodes.plain_sums[:, 0].tolist(),
        plain_costs=episodes.plain_sums[:, 1:].tolist(),
        lengths=episodes.lengths.tolist(),
        mean_return=float(returns.mean()),
        mean_costs=mean_costs.tolist(),
        violation=violation.tolist(),
        feasible=bool((violation <= 0).all()),
        mean_plain_return=float(episodes.plain_sums[:, 0].mean()),
        mean_plain_costs=episodes.plain_sums[:, 1:].mean(axis=0).tolist(),
        mean_length=float(episodes.lengths.mean()),
        cost_tails=[cost_tails(column) for column in costs.T],
        exact=exact,
    )
