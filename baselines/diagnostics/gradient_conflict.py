"""Do the parts of a loss pull parameters the same way?

    cos(a, b) = g_a . g_b / (|g_a| |g_b|),   g_c the gradient of part c, with its weight

A conflict is a cosine below 0: a step along one part's gradient undoes the other's. A gradient
shorter than 1e-10 has no direction, and its cosines are NaN.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import torch

from agents.flat_parameters import Parameters, flat_gradient

SHORTEST = 1e-10  # gradients below have no direction
WINDOW = 100  # measurements that the conflict rate covers


class PartGradients(NamedTuple):
    """The gradients of the parts of a loss."""

    norms: dict[str, float]
    cosines: dict[tuple[str, str], float]  # of every pair, in the order of the parts


def part_gradients(parts: Mapping[str, torch.Tensor], parameters: Parameters) -> PartGradients:
    """Return norms and cosines of the gradients of a loss's parts.

    Args:
        parts: scalars by name, each with its weight, of the same batch.
        parameters: to differentiate by.
    """
    gradients = {
        name: flat_gradient(part, parameters, retain_graph=True).double()
        for name, part in parts.items()
    }
    norms = {name: float(gradient.norm()) for name, gradient in gradients.items()}
    cosines = {(a, b): _cosine(gradients[a], gradients[b]) for a, b in combinations(gradients, 2)}
    return PartGradients(norms, cosines)


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    sizes = float(one.norm()), float(other.norm())
    if min(sizes) < SHORTEST:
        return math.nan
    return float(one @ other) / (sizes[0] * sizes[1])


class ConflictRate:
    """The share of recent measurements with a conflict; those without a direction do not count."""

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=WINDOW)

    def add(self, cosine: float) -> float:
        """Count a cosine and return the rate; NaN before the first that has a direction."""
        if not math.isnan(cosine):
            self._recent.append(cosine < 0.0)
        return sum(self._recent) / len(self._recent) if self._recent else math.nan
