"""What the actor is to do in the passes over a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch


class Surrogate(NamedTuple):
    """A loss of x = log(pi / pi_old) and the advantage A of each sample, and its derivative.

    Both take x (b,) and A (b,) and return (b,).
    """

    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]  # d loss / d x


class ActorGoal(NamedTuple):
    """The mean of the surrogate that the actor minimizes, and when it stops."""

    advantage: torch.Tensor  # (n,) what the actor should increase
    surrogate: Surrogate
    ent_coef: float  # weight of the entropy bonus
    largest_divergence: float  # from the old policy, estimated; infinite never stops the passes
