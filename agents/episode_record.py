"""The episodes of a training: what they cost, and which ended since the last update."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.batch import Measurement, measurement
from safe_envs.contract.cost_signal import ConstraintSpec
from safe_envs.contract.episode_totals import EndedEpisode, Episode, EpisodeTotals

WINDOW = 10  # episodes that the logged averages cover if no more have ended since the last update


class Averages(NamedTuple):
    """Means over episodes, and their standard errors, which are nan for a single episode."""

    episodes: int
    plain_value: float  # mean undiscounted sum of the reward
    value: float  # with the declared discount
    value_error: float
    plain_costs: np.ndarray  # (m,) mean undiscounted sums
    costs: np.ndarray  # (m,) with the declared discounts, which the limits bound
    cost_errors: np.ndarray  # (m,)
    length: float  # [steps]


class EpisodeRecord:
    """Counts rewards and costs with the declared discounts, episode by episode.

    Args:
        constraints: m of them.
        reward_discount: of the return.
        before: the record so far, whose last measurement stays known.
    """

    def __init__(
        self,
        constraints: Sequence[ConstraintSpec],
        reward_discount: float,
        before: EpisodeRecord | None = None,
    ) -> None:
        self._discounts = (reward_discount, [constraint.discount for constraint in constraints])
        self._totals: EpisodeTotals | None = None  # of the episodes in progress
        self._fresh: list[Episode] = []  # ended since the last update
        self.recent: deque[Episode] = deque(maxlen=WINDOW)
        self.last: Measurement | None = None if before is None else before.last
        self._again: bool = before is not None and before._again

    def add(
        self, signals: np.ndarray, dones: np.ndarray, stepped: np.ndarray | None = None
    ) -> None:
        """Add one step's reward and costs, (N, 1 + m), and keep the episodes that it ended.

        Environments that are not in `stepped`, (N,) bool, were only reset, which is no step.
        """
        self._keep(self._totals_of(len(signals)).add(signals, dones, stepped))

    def add_steps(self, signals: np.ndarray, dones: np.ndarray, stepped: np.ndarray) -> None:
        """Add T steps at once, to the same result: (T, N, 1 + m), (T, N) and (T, N)."""
        self._keep(self._totals_of(signals.shape[1]).add_steps(signals, dones, stepped))

    def measure(self, limits: np.ndarray) -> Measurement | None:
        """Return the costs of the episodes that ended since the last call, against limits (m,)."""
        fresh, self._fresh = self._fresh, []
        measured = measurement(fresh, limits, self.last)
        if measured is None and self._again and self.last is not None:
            measured = self.last._replace(limits=limits, episodes=0)
        self._again = False
        self.last = measured or self.last
        return measured

    def measure_again(self) -> None:
        """Let the next measurement repeat the last one if no episode has ended by then.

        The limits have changed, and what is known of the costs counts against the new ones.
        """
        self._again = True

    def averaged(self) -> Sequence[Episode]:
        """Return the episodes that the averages cover.

        They are those that ended since the last update, or the last `WINDOW` if that is more: a
        longer window would show what earlier policies did, long after the policy has changed.
        """
        return self._fresh if len(self._fresh) > len(self.recent) else self.recent

    def averages(self) -> Averages | None:
        """Return what the log shows of the recent episodes; None if there are none."""
        episodes = self.averaged()
        if not episodes:
            return None
        sums = np.array([(one.value, *one.costs) for one in episodes])  # (episodes, 1 + m)
        plain = np.mean([(one.plain_value, *one.plain_costs) for one in episodes], axis=0)
        errors = np.full(sums.shape[1], np.nan)
        if len(sums) > 1:
            errors = sums.std(axis=0, ddof=1) / np.sqrt(len(sums))
        mean = sums.mean(axis=0)
        return Averages(
            episodes=len(sums),
            plain_value=float(plain[0]),
            value=float(mean[0]),
            value_error=float(errors[0]),
            plain_costs=plain[1:],
            costs=mean[1:],
            cost_errors=errors[1:],
            length=float(np.mean([one.length for one in episodes])),
        )

    def _totals_of(self, num_envs: int) -> EpisodeTotals:
        if self._totals is None:
            self._totals = EpisodeTotals(num_envs, *self._discounts)
        return self._totals

    def _keep(self, ended: Sequence[EndedEpisode]) -> None:
        episodes = [one.episode for one in ended]
        self._fresh += episodes
        self.recent += episodes
