"""A Box whose elements are rows of the identity matrix."""

from __future__ import annotations

import gymnasium as gym
import numpy as np


class OneHotBox(gym.spaces.Box):
    """Vectors with one 1 and zeros elsewhere, (n,) float32.

    It is a Box for every library. Agents recognize it and pass such observations to their networks
    as they are: standardizing them would blow up the entries of rare states.

    Args:
        size: n.
    """

    def __init__(self, size: int) -> None:
        super().__init__(0.0, 1.0, (size,), np.float32)
