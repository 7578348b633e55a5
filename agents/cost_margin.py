"""How far below its limit an agent keeps a cost, because the mean cost is only measured.

    violation = mean cost - limit + margin standard error,   standard error = deviation / sqrt(n)

over the n episodes of the last ten updates. A price that follows the measured cost leaves half of
all last policies above the limit; with a margin, the mean is aimed at a confidence bound. It
vanishes where many episodes are measured. By default it rises in the course of a training: a
margin at the beginning, while costs vary most, makes agents careful before they have learned.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.batch import Measurement
from agents.schedules import LinearDecay, Scheduled, check_scheduled, scheduled

UPDATES = 10  # whose episodes count
RISING = LinearDecay(0.0, 1.5)


@dataclass(frozen=True)
class MarginSetting:
    """The margin; an argument of every agent whose costs are means over rollouts, not of SCPO.

    Args:
        cost_margin: standard errors of the measured mean cost by which it is kept below the limit;
            or a function of the remaining progress, 1 to 0. 0 aims at the limit itself.
    """

    cost_margin: Scheduled = RISING

    def __post_init__(self) -> None:
        check_scheduled("cost_margin", self.cost_margin, open_low=False)


NO_MARGIN = MarginSetting(0.0)


class CostMargin:
    """Remembers how the costs of episodes vary.

    Args:
        setting: the margin in standard errors.
        num_constraints: m.
    """

    def __init__(self, setting: MarginSetting, num_constraints: int) -> None:
        self._setting = setting
        self._zeros = np.zeros(num_constraints)
        self._recent: deque[tuple[int, np.ndarray]] = deque(maxlen=UPDATES)

    def violation(self, measured: Measurement, progress_remaining: float) -> np.ndarray:
        """Return the violation with the margin, (m,), and remember the episodes.

        The margin is at most the limit: no cost is aimed below 0.
        """
        if measured.episodes:
            self._recent.append((measured.episodes, measured.variances))
        errors = scheduled("cost_margin", self._setting.cost_margin, progress_remaining)
        margin = errors * self.standard_error()
        return measured.costs - np.maximum(measured.limits - margin, 0.0)

    def standard_error(self) -> np.ndarray:
        """Return the standard error of the mean cost over the remembered episodes, (m,)."""
        episodes = sum(count for count, _ in self._recent)
        summed = sum((count * variances for count, variances in self._recent), self._zeros)
        return np.sqrt(summed) / max(episodes, 1)

    def state(self) -> dict[str, Any]:
        """Return what `load_state` takes."""
        return {
            "episodes": [count for count, _ in self._recent],
            "variances": [variances.tolist() for _, variances in self._recent],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._recent.clear()
        for count, variances in zip(state["episodes"], state["variances"], strict=True):
            self._recent.append((int(count), np.array(variances, dtype=np.float64)))
