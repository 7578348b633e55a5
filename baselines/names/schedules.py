"""Schedules as files of hyperparameters write them.

    "lin_X"        from X down to 0 in a straight line over the training
    "lin_X_Y"      from X to Y
    "lin_X_Y_P"    the same over the last share P of the training; before, X

Source of the first: RL Baselines3 Zoo.
"""

from __future__ import annotations

from agents.schedules import LinearDecay

# Settings that may be schedules.
SCHEDULES = ("learning_rate", "clip_range", "max_kl", "cost_margin", "recovery_share")
LINEAR = "lin_"


def linear_schedule(name: str, text: str) -> LinearDecay:
    """Return the schedule that a text stands for.

    Args:
        name: of the setting, for the error.
        text: "lin_X", "lin_X_Y" or "lin_X_Y_P".

    Raises:
        ValueError: if it is none of these, or a number is out of range.
    """
    try:
        start, *others = map(float, text.removeprefix(LINEAR).split("_"))
        if text.startswith(LINEAR) and max([start, *others[:1]]) > 0.0:
            return LinearDecay(start, *others)
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"{name} is {text!r}; pass a number, or 'lin_X' for a linear decay from X > 0 to 0, "
        "'lin_X_Y' for a line to Y >= 0, 'lin_X_Y_P' for one over the last share P of the training"
    )


def schedule_text(schedule: LinearDecay) -> str:
    """Return the text that `linear_schedule` reads as this schedule."""
    numbers = [schedule.start, schedule.end, schedule.part]
    if schedule.part == 1.0:
        numbers = numbers[:1] if schedule.end == 0.0 else numbers[:2]
    return LINEAR + "_".join(map(repr, numbers))
