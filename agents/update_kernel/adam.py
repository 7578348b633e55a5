"""Adam on one flat vector, by the fused kernel of PyTorch on memory that NumPy shares.

Source: Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


class FlatAdam:
    """The steps of `torch.optim.Adam(fused=True)` on all parameters as one, in place.

    The optimizer itself spends more time on each parameter's tensor than on its numbers.

    Args:
        theta: the parameters, (d,).
        gradient: is read by every step, (d,).
        group: of a torch.optim.Adam: its rate, betas and epsilon.
    """

    def __init__(self, theta: np.ndarray, gradient: np.ndarray, group: Mapping[str, Any]) -> None:
        self.first, self.second = np.zeros_like(theta), np.zeros_like(theta)  # moments, (d,)
        self.steps = np.zeros((), np.float32)
        vectors = (theta, gradient, self.first, self.second)
        self._lists = [[torch.from_numpy(vector)] for vector in vectors]
        self._counter = [torch.from_numpy(self.steps)]
        self._rate, self._epsilon = float(group["lr"]), float(group["eps"])
        self._betas: tuple[float, float] = group["betas"]

    def step(self) -> None:
        """Take a step against the gradient."""
        self.steps += 1
        theta, gradient, first, second = self._lists
        torch._fused_adam_(
            *(theta, gradient, first, second, [], self._counter),
            lr=self._rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=self._epsilon,
            amsgrad=False,
            maximize=False,
        )
