"""Cost limits that an agent can be given: numbers, or schedules over the remaining progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from safe_envs.contract.cost_signal import CostLimits, checked_limits

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent

Limit = float | Callable[[float], float]
LimitSetting = CostLimits | Callable[[float], Any] | Sequence[Limit]


@dataclass(frozen=True)
class LimitSchedule:
    """Limits that follow the remaining progress, which goes from 1 to 0 in a training.

    Args:
        given: a function of the progress that returns one number or one per constraint, or a
            number or function for each constraint.
    """

    given: Any

    def at(self, progress_remaining: float) -> np.ndarray:
        """Return the limits at this progress, (k,).

        Raises:
            ValueError: if they are not finite numbers.
        """
        if callable(self.given):
            limits = self.given(progress_remaining)
        else:
            limits = [one(progress_remaining) if callable(one) else one for one in self.given]
        return checked_limits(
            limits, f"cost_limit at a remaining progress of {progress_remaining:g}"
        )


def schedule_of(cost_limit: LimitSetting) -> LimitSchedule | None:
    """Return the schedule if the limits are one, or one of them is; None if they are numbers."""
    if callable(cost_limit):
        return LimitSchedule(cost_limit)
    if isinstance(cost_limit, list | tuple) and any(callable(one) for one in cost_limit):
        return LimitSchedule(tuple(cost_limit))
    return None


def checked_schedule(agent: AdjustableAgent, cost_limit: LimitSetting) -> LimitSchedule | None:
    """Return the schedule of an agent's limits, as `schedule_of` does.

    Raises:
        ValueError: if the agent's limits cannot change in a training.
    """
    schedule = schedule_of(cost_limit)
    if schedule is not None and not agent.follows_limits:
        raise ValueError(
            f"cost_limit is a schedule, but the limits of {type(agent).__name__} are part of what "
            "it measures; pass a number, or one per constraint"
        )
    return schedule


def limits_at_start(cost_limit: LimitSetting) -> CostLimits:
    """Return the limits at the beginning of a training, as numbers; None stays None."""
    schedule = schedule_of(cost_limit)
    if schedule is None:
        return cost_limit  # type: ignore[return-value]
    limits = schedule.at(1.0)
    is_one = callable(schedule.given) and limits.size == 1
    return float(limits[0]) if is_one else limits.tolist()
