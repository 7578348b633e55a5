"""How often and how far actions were repaired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RepairedShare:
    """How often and how far the actions of some steps were changed."""

    steps: int
    rate: float  # share of the actions that were changed
    mean_correction: float  # distance between proposed and taken, over all steps, units of actions
    infeasible_rate: float  # share of the actions that do not meet the constraint when taken

    def __str__(self) -> str:
        return (
            f"{self.rate:.1%} of the actions were repaired, by {self.mean_correction:.3g} on "
            f"average over all; {self.infeasible_rate:.1%} do not meet the constraint"
        )


class RepairCount:
    """Counts repairs."""

    def __init__(self) -> None:
        self._steps = self._changed = self._infeasible = 0
        self._correction = 0.0

    def add(self, entries: Mapping[str, np.ndarray], stepped: np.ndarray) -> None:
        """Count the repairs of one step of N environments.

        Args:
            entries: arrays (N, ...), by the names of `RepairedActions`.
            stepped: (N,) bool, False for environments that were only reset.
        """
        self._steps += int(np.count_nonzero(stepped))
        self._changed += int(np.count_nonzero(entries["repair_active"][stepped]))
        self._infeasible += int(np.count_nonzero(~entries["repair_feasible"][stepped]))
        self._correction += float(entries["repair_correction"][stepped].sum())

    def share(self) -> RepairedShare | None:
        """Return the shares of all steps counted; None if there are none."""
        if not self._steps:
            return None
        return RepairedShare(
            self._steps,
            self._changed / self._steps,
            self._correction / self._steps,
            self._infeasible / self._steps,
        )
