"""The error for losses that are not finite."""

from __future__ import annotations

import math


class NonFiniteLossError(RuntimeError, ValueError):
    """A loss became NaN or infinite; the policy was left as it was before that step.

    It is also a ValueError: PyTorch's distributions raise one for such policies, and RL Zoo's
    hyperparameter search treats it as a failed trial.
    """


def check_loss(loss: float) -> None:
    """Raise NonFiniteLossError unless a loss, or a gradient's norm, is finite."""
    if not math.isfinite(loss):
        raise NonFiniteLossError(
            f"the loss is {loss}; lower learning_rate, or look for rewards, costs or "
            "observations that are too large for float32"
        )
