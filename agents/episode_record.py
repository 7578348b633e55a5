"""The episodes of a training: what they cost, and which ended since the last update."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from agents.batch import Measurement, mean_costs, measurement
from safe_envs.contract.cost_signal import ConstraintSpec
from safe_envs.contract.episode_totals import Episode, EpisodeTotals

WINDOW = 100  # episodes that the logged averages cover


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
        if self._totals is None:
            self._totals = EpisodeTotals(len(signals), *self._discounts)
        ended = [one.episode for one in self._totals.add(signals, dones, stepped)]
        self._fresh += ended
        self.recent += ended

    def measure(self, limits: np.ndarray) -> Measurement | None:
        """Return the costs of the episodes that ended since the last call, against limits (m,)."""
        fresh, self._fresh = self._fresh, []
        measured = measurement(fresh, limits)
        if measured is None and self._again and self.last is not None:
            measured = self.last._replace(limits=limits)
        self._again = False
        self.last = measured or self.last
        return measured

    def measure_again(self) -> None:
        """Let the next measurement repeat the last one if no episode has ended by then.

        The limits have changed, and what is known of the costs counts against the new ones.
        """
        self._again = True

    def averages(self) -> tuple[float, np.ndarray] | None:
        """Return mean value and mean costs (m,) of the recent episodes; None if there are none."""
        if not self.recent:
            return None
        values = [episode.value for episode in self.recent]
        return float(np.mean(values)), mean_costs(self.recent)
