"""Sums of rewards and costs over episodes, measured with the declared discounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Episode:
    """The totals of one episode."""

    value: float  # discounted sum of the reward
    costs: np.ndarray  # (m,) discounted sum of each cost
    plain_value: float  # undiscounted
    plain_costs: np.ndarray  # (m,) undiscounted
    horizon: np.ndarray  # (m,) discounted number of steps, sum_t discount^t
    length: int  # [steps]


class EndedEpisode(NamedTuple):
    """An episode and the environment it was played in."""

    row: int
    episode: Episode


class EpisodeTotals:
    """Sums the rewards and costs of N environments, one episode at a time in each.

        value = sum_t discount^t reward_t,   costs_i = sum_t discount_i^t cost_{t,i}

    Args:
        num_envs: number of environments N.
        reward_discount: discount of the return.
        cost_discounts: one per constraint, (m,).
    """

    def __init__(
        self, num_envs: int, reward_discount: float, cost_discounts: Sequence[float]
    ) -> None:
        self._discounts = np.array([reward_discount, *cost_discounts], dtype=np.float64)
        shape = (num_envs, len(self._discounts))
        self._sums, self._plain, self._horizons = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._factors = np.ones(shape)  # discount^t
        self._lengths = np.zeros(num_envs, dtype=np.int64)

    def add(
        self, signals: np.ndarray, ended: np.ndarray, stepped: np.ndarray | None = None
    ) -> list[EndedEpisode]:
        """Add one step of every environment and return the episodes that ended, by row.

        Args:
            signals: reward and costs, (N, 1 + m).
            ended: whether the step was the last of its episode, (N,) bool.
            stepped: False for environments that were only reset, (N,) bool: for these it is no
                step. None if all took one.
        """
        self._sums += self._factors * signals
        self._plain += signals
        self._horizons += self._factors
        self._factors *= self._discounts
        self._lengths += 1
        if stepped is not None and not stepped.all():
            self.close(np.flatnonzero(~stepped))
            ended = ended & stepped
        rows = np.flatnonzero(ended)
        return self.close(rows) if len(rows) else []

    def add_steps(
        self, signals: np.ndarray, ended: np.ndarray, stepped: np.ndarray
    ) -> list[EndedEpisode]:
        """Add T steps of every environment, with the same result, bit for bit, as T calls of `add`.

        Args:
            signals: reward and costs, (T, N, 1 + m).
            ended: whether the step was the last of its episode, (T, N) bool.
            stepped: False for environments that were only reset, (T, N) bool.

        Returns:
            The episodes that ended, by step and then by row.
        """
        closed: list[tuple[int, EndedEpisode]] = []
        bounds = ended | ~stepped
        for row in range(signals.shape[1]):
            first = 0
            for last in [*np.flatnonzero(bounds[:, row]).tolist(), len(signals)]:
                self._add_to_row(row, signals[first : last + 1, row])
                if last < len(signals):
                    done = self.close(np.array([row]))
                    closed += [(last, one) for one in done if stepped[last, row]]
                first = last + 1
        return [one for _, one in sorted(closed, key=lambda entry: (entry[0], entry[1].row))]

    def _add_to_row(self, row: int, signals: np.ndarray) -> None:
        """Add steps of one episode, (n, 1 + m); sums are taken in the order of the steps."""
        count, width = signals.shape
        factors = np.empty((count + 1, width))
        factors[0], factors[1:] = self._factors[row], self._discounts
        factors = np.multiply.accumulate(factors)
        steps = np.empty((count + 1, 3, width))
        steps[0] = self._sums[row], self._plain[row], self._horizons[row]
        steps[1:, 0] = factors[:-1] * signals
        steps[1:, 1] = signals
        steps[1:, 2] = factors[:-1]
        self._sums[row], self._plain[row], self._horizons[row] = np.add.accumulate(steps)[-1]
        self._factors[row] = factors[-1]
        self._lengths[row] += count

    def so_far(self) -> np.ndarray:
        """Return value and costs of the episodes in progress, with the discounts, (N, 1 + m)."""
        return self._sums.copy()

    def close(self, rows: np.ndarray) -> list[EndedEpisode]:
        """End the episodes in the given rows and return their totals so far."""
        closed = []
        for row in rows.tolist():
            sums, plain = self._sums[row].copy(), self._plain[row].copy()
            episode = Episode(
                value=float(sums[0]),
                costs=sums[1:],
                plain_value=float(plain[0]),
                plain_costs=plain[1:],
                horizon=self._horizons[row, 1:].copy(),
                length=int(self._lengths[row]),
            )
            closed.append(EndedEpisode(row, episode))
        self._sums[rows] = self._plain[rows] = self._horizons[rows] = 0.0
        self._factors[rows] = 1.0
        self._lengths[rows] = 0
        return closed
