"""No constraint: costs are measured and have no price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class NoDual:
    """The unconstrained reference, w = 0."""

    def start(self, num_constraints: int) -> None:
        """Prepare for m constraints."""
        self._weights = np.zeros(num_constraints)

    def weights(self) -> np.ndarray:
        """Return zeros, (m,)."""
        return self._weights.copy()

    def update(self, violation: np.ndarray) -> None:
        """Do nothing."""

    def log(self) -> dict[str, np.ndarray]:
        """Return nothing to log."""
        return {}
