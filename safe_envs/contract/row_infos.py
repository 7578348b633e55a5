"""The infos of one step of N environments, whose costs stay one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Info = dict[str, Any]


class RowInfos(Sequence[Info]):
    """One dict per environment, as Stable-Baselines3 expects, created on demand.

    A row's dict has "cost", the total, and with several constraints also "costs". It is kept once
    created, so callers may add entries to it. Copies and pickles are plain lists.

    Args:
        costs: costs of the step, (N, m) float64.
    """

    __slots__ = ("_totals", "costs", "made")

    def __init__(self, costs: np.ndarray) -> None:
        self.costs = costs  # as given
        self.made: dict[int, Info] = {}  # so far, by row; callers may have changed them
        self._totals: np.ndarray | None = None  # (N,)

    def __len__(self) -> int:
        return len(self.costs)

    def __getitem__(self, index: Any) -> Any:
        """Return the dict of one row, or the list of a slice's."""
        chosen = range(len(self.costs))[index]
        if isinstance(chosen, range):
            return [self._row(row) for row in chosen]
        return self._row(chosen)

    def __setitem__(self, index: Any, given: Any) -> None:
        """Replace the dict of one row, or those of a slice."""
        chosen = range(len(self.costs))[index]
        if isinstance(chosen, range):
            self.made.update(zip(chosen, given, strict=True))
        else:
            self.made[chosen] = given

    def __iter__(self) -> Iterator[Info]:
        return map(self._row, range(len(self.costs)))

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, RowInfos) else other)

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce__(self) -> tuple[type, tuple[list[Info]]]:
        return list, (list(self),)

    def copy(self) -> list[Info]:
        """Return a list of the same dicts."""
        return list(self)

    def _row(self, row: int) -> Info:
        if row not in self.made:
            if self._totals is None:
                self._totals = self.costs.sum(axis=1)
            info: Info = {"cost": self._totals[row]}
            if self.costs.shape[1] > 1:
                info["costs"] = self.costs[row]
            self.made[row] = info
        return self.made[row]
