"""What the evaluator measured of one submission: the sums of every episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ScoredEpisodes:
    """Sums of k policies' n episodes each; policy j's episode i started from seed j * n + i."""

    returns: np.ndarray  # (k, n), discounted as the environment declares
    costs: np.ndarray  # (k, n, m), discounted as the constraints declare
    plain_returns: np.ndarray  # (k, n), undiscounted
    plain_costs: np.ndarray  # (k, n, m)
    lengths: np.ndarray  # (k, n) [steps]

    def __post_init__(self) -> None:
        policies, episodes, constraints = self.costs.shape
        expected = {
            "returns": (policies, episodes),
            "plain_returns": (policies, episodes),
            "plain_costs": (policies, episodes, constraints),
            "lengths": (policies, episodes),
        }
        for name, shape in expected.items():
            array: np.ndarray = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}; costs call for {shape}")
