"""What the evaluator measured: the sums of one episode and of all episodes of a submission."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EpisodeSums:
    """The sums of one episode, as the store keeps them."""

    total_return: float  # discounted as the environment declares
    costs: tuple[float, ...]  # (m,)
    plain_return: float  # undiscounted
    plain_costs: tuple[float, ...]  # (m,)
    length: int  # [steps]


@dataclass(frozen=True)
class ScoredEpisodes:
    """Sums of k policies' n episodes; episode i of policy j has seed index j * n + i."""

    returns: np.ndarray  # (k, n), discounted as the environment declares
    costs: np.ndarray  # (k, n, m), discounted as the constraints declare
    plain_returns: np.ndarray  # (k, n), undiscounted
    plain_costs: np.ndarray  # (k, n, m)
    lengths: np.ndarray  # (k, n) [steps]

    def __post_init__(self) -> None:
        policies, episodes, constraints = self.costs.shape
        expected = {
            "returns": (self.returns, (policies, episodes)),
            "plain_returns": (self.plain_returns, (policies, episodes)),
            "plain_costs": (self.plain_costs, (policies, episodes, constraints)),
            "lengths": (self.lengths, (policies, episodes)),
        }
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}; the costs require {shape}")


def episodes_of(episodes: Iterable[EpisodeSums], policies: int) -> ScoredEpisodes:
    """Return the episodes, given policy after policy, as arrays."""
    rows = list(episodes)

    def array(values: list) -> np.ndarray:
        flat = np.array(values, dtype=np.float64)
        return flat.reshape(policies, len(rows) // policies, *flat.shape[1:])

    return ScoredEpisodes(
        returns=array([row.total_return for row in rows]),
        costs=array([row.costs for row in rows]),
        plain_returns=array([row.plain_return for row in rows]),
        plain_costs=array([row.plain_costs for row in rows]),
        lengths=array([row.length for row in rows]),
    )
