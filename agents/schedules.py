"""Schedules: functions of the remaining progress, which goes from 1 to 0 in a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from safe_envs.contract.argument_checks import check_not_negative, check_number

Scheduled = float | Callable[[float], float]  # a number, or one for every remaining progress


def check_scheduled(name: str, value: Scheduled, open_low: bool = True) -> None:
    """Raise ValueError unless this is a schedule, or a number > 0 (>= 0 without `open_low`)."""
    if not callable(value):
        check_number(name, value, low=0.0, open_low=open_low)


def scheduled(name: str, value: Scheduled, progress_remaining: float) -> float:
    """Return the number, given the remaining progress, 1 to 0.

    Raises:
        ValueError: if a schedule returns anything but a finite number >= 0.
    """
    if not callable(value):
        return value
    returned = value(progress_remaining)
    try:
        number = float(returned)
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number) and number >= 0.0:
        return number
    raise ValueError(
        f"{name} is {returned!r} at a remaining progress of {progress_remaining:g}; its schedule "
        "has to return a finite number >= 0"
    )


@dataclass(frozen=True)
class LinearDecay:
    """A number that falls, or rises, in a straight line over a training or over its last part.

    "lin_X" in a file of hyperparameters is `LinearDecay(X)`; the notation is RL Baselines3 Zoo's.

    Args:
        start: at the beginning.
        end: at the end.
        part: share of the training, the last, over which the number moves; before, it is `start`.
    """

    start: float
    end: float = 0.0
    part: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative(start=self.start, end=self.end)
        check_number("part", self.part, low=0.0, high=1.0, open_low=True)

    def __call__(self, progress_remaining: float) -> float:
        """Return the number at this remaining progress, 1 to 0."""
        return self.end + (self.start - self.end) * min(progress_remaining / self.part, 1.0)
