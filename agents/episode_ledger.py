"""Running sums of the episodes in progress, and the episodes that ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 100  # episodes that the logged averages cover


@dataclass(frozen=True)
class Episode:
    """One finished episode, measured with the declared discounts."""

    value: float  # discounted sum of the reward
    costs: np.ndarray  # (m,) discounted sum of each cost
    horizon: np.ndarray  # (m,) discounted number of steps, sum_t discount^t
    length: int


class EpisodeLedger:
    """Adds up rewards and costs of N environments, one episode each at a time.

    Args:
        num_envs: number of environments N.
        reward_discount: of the return.
        cost_discounts: one per constraint, (m,).
    """

    def __init__(
        self, num_envs: int, reward_discount: float, cost_discounts: Sequence[float]
    ) -> None:
        self._discounts = np.array([reward_discount, *cost_discounts])
        width = len(self._discounts)
        self._sums = np.zeros((num_envs, width))
        self._horizons = np.zeros((num_envs, width))
        self._factors = np.ones((num_envs, width))  # discount^t
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._fresh: list[Episode] = []
        self.recent: deque[Episode] = deque(maxlen=WINDOW)

    def add(self, signals: np.ndarray, ended: np.ndarray) -> None:
        """Add one step of every environment.

        Args:
            signals: reward and costs, (N, 1 + m).
            ended: whether the step was the last of its episode, (N,) bool.
        """
        self._sums += self._factors * signals
        self._horizons += self._factors
        self._factors *= self._discounts
        self._lengths += 1
        rows = np.flatnonzero(ended)
        if len(rows):
            self._close(rows)

    def take(self) -> list[Episode]:
        """Return the episodes that ended since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _close(self, rows: np.ndarray) -> None:
        """Keep the episodes that ended in the rows with these numbers, and start new ones."""
        returns, costs = self._sums[rows, 0].tolist(), self._sums[rows, 1:]
        lengths, horizons = self._lengths[rows].tolist(), self._horizons[rows, 1:]
        episodes = list(map(Episode, returns, costs, horizons, lengths))
        self._fresh += episodes
        self.recent += episodes
        self._sums[rows] = self._horizons[rows] = 0.0
        self._factors[rows] = 1.0
        self._lengths[rows] = 0


def mean_costs(episodes: Sequence[Episode]) -> np.ndarray:
    """Return the mean cost of each constraint over at least one episode, (m,)."""
    return np.mean([episode.costs for episode in episodes], axis=0)
