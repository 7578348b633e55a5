"""Whether two backends differ: permutation tests over the seeds of every agent and environment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from baselines.measures.statistics import (
    holm_adjusted,
    joint_permutation_p_value,
    permutation_p_value,
)

BACKENDS = ("torch", "numpy")
LEVEL = 0.05  # of significance
NUMBERS = ("return", "cost", "return, end of curve", "cost, end of curve")


class TrainedCase(NamedTuple):
    """What is trained with both backends."""

    env: str
    agent: str


class BackendDifference(NamedTuple):
    """One number of one agent with both backends, by seed."""

    case: TrainedCase
    number: str  # of `NUMBERS`
    torch: np.ndarray  # (seeds,)
    numpy: np.ndarray  # (seeds,)
    p_value: float  # of a permutation test
    adjusted: float  # p value, by Holm over all differences

    @property
    def is_significant(self) -> bool:
        """Whether it stays significant among all differences."""
        return self.adjusted <= LEVEL

    @property
    def largest_in_a_seed(self) -> float:
        """The largest distance of two runs of the same seed."""
        return float(np.abs(self.numpy - self.torch).max())

    def as_json(self) -> dict[str, Any]:
        """Return the figures for summary.json."""
        return {
            **self.case._asdict(),
            "number": self.number,
            **{backend: values.tolist() for backend, values in self.by_backend().items()},
            "largest_in_a_seed": self.largest_in_a_seed,
            "p_value": self.p_value,
            "adjusted_p_value": self.adjusted,
        }

    def by_backend(self) -> dict[str, np.ndarray]:
        """Return the seeds' values of each backend."""
        return {"torch": self.torch, "numpy": self.numpy}


Results = Mapping[TrainedCase, Mapping[str, np.ndarray]]  # by backend, (seeds, numbers)


def all_differences(found: Results) -> list[BackendDifference]:
    """Return the tests of all numbers of all cases."""
    differences = []
    for case, by_backend in found.items():
        for column, number in enumerate(NUMBERS):
            torch, numpy = (by_backend[backend][:, column] for backend in BACKENDS)
            p_value = permutation_p_value(numpy, torch)
            differences.append(BackendDifference(case, number, torch, numpy, p_value, math.nan))
    adjusted = holm_adjusted([one.p_value for one in differences])
    return [one._replace(adjusted=float(p)) for one, p in zip(differences, adjusted, strict=True)]


def joint_p_value(found: Results) -> float:
    """Return the p value of one test for any difference between the backends."""
    pairs = [(by_backend["numpy"], by_backend["torch"]) for by_backend in found.values()]
    return joint_permutation_p_value(pairs, np.random.default_rng(0))


def verdict(differences: Sequence[BackendDifference], joint: float, seeds: int) -> str:
    """Return in words what the tests say, and what they could have said."""
    number = len(differences)
    kept = [f"{d.case.agent} on {d.case.env}, {d.number}" for d in differences if d.is_significant]
    below = sum(one.p_value <= LEVEL for one in differences)
    lines = [
        f"significant at {LEVEL:.0%} after Holm's correction over {number} comparisons: "
        f"{'; '.join(kept) or 'none'}",
        f"p <= {LEVEL:g} without the correction: {below} of {number}; up to {LEVEL * number:.1f} "
        "are expected by chance",
        f"one joint test of all differences: p = {joint:.3f}",
    ]
    needed = next(n for n in range(2, 100) if smallest_p_value(n) <= LEVEL / number)
    if seeds < needed:
        lines.append(
            f"With {seeds} seeds no p value is below {smallest_p_value(seeds):.2g}; Holm's first "
            f"threshold is {LEVEL / number:.2g}, which takes at least {needed} seeds. With "
            "fewer, only the joint test can find a difference."
        )
    return "\n".join(lines)


def smallest_p_value(seeds: int) -> float:
    """Return the smallest p value of a two-sided permutation test of two groups of seeds."""
    return 2.0 / math.comb(2 * seeds, seeds)
