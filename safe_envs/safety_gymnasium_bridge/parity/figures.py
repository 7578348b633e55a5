"""Differences between two sides' rollouts of one task: pure functions of arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safe_envs.safety_gymnasium_bridge.parity.rollout_policies import Arrays

TOLERANCE = 1e-6  # in an observation's entries; beyond it trajectories have diverged


@dataclass(frozen=True)
class Divergence:
    """How two episodes with the same seed and actions diverge.

    Args:
        at_reset: largest difference of the first observations.
        at_first_step: the same after one step.
        reward_at_first_step: difference of the first rewards.
        parted: first step after which observations differ by more than the tolerance, or only one
            of the episodes is over; None if there is none.
        steps: steps taken by both.
        mismatches_before: steps before `parted` at which costs differ.
        mismatches: steps of both at which costs differ.
    """

    at_reset: float
    at_first_step: float
    reward_at_first_step: float
    parted: int | None
    steps: int
    mismatches_before: int
    mismatches: int


def divergence(ours: Arrays, theirs: Arrays, row: int, tolerance: float = TOLERANCE) -> Divergence:
    """Return how the episodes in `row` of two sides' trajectories diverge.

    Raises:
        ValueError: if observations have different shapes.
    """
    one, other = ours[f"observations_{row}"], theirs[f"observations_{row}"]
    if one.shape[1:] != other.shape[1:]:
        raise ValueError(
            f"observations have shapes {one.shape[1:]} and {other.shape[1:]}; compare one task "
            "with itself"
        )
    steps = min(len(one), len(other)) - 1
    apart = np.abs(one[: steps + 1] - other[: steps + 1]).max(axis=1)  # (steps + 1,)
    beyond = np.flatnonzero(~(apart <= tolerance))  # NaN is beyond
    parted = int(beyond[0]) if len(beyond) else None
    if parted is None and len(one) != len(other):
        parted = steps
    differ = ours[f"costs_{row}"][:steps] != theirs[f"costs_{row}"][:steps]
    rewards = ours[f"rewards_{row}"][0] - theirs[f"rewards_{row}"][0]
    before = steps if parted is None else max(parted - 1, 0)  # costs[t - 1] is that of step t
    return Divergence(
        at_reset=float(apart[0]),
        at_first_step=float(apart[1]),
        reward_at_first_step=float(abs(rewards)),
        parted=parted,
        steps=steps,
        mismatches_before=int(differ[:before].sum()),
        mismatches=int(differ.sum()),
    )


def z_of_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return z = (mean(ours) - mean(theirs)) / sqrt(var(ours) / n + var(theirs) / m).

    This is the statistic of Welch's test, large if the means differ by more than chance. If neither
    side varies, it is 0 for equal means and infinite for different ones.
    """
    difference = float(np.mean(ours) - np.mean(theirs))
    return _quotient(
        difference, np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs)
    )


def paired_z(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return z of the mean difference per seed, which finds smaller differences."""
    differences = ours - theirs
    return _quotient(float(differences.mean()), np.var(differences, ddof=1) / len(differences))


def _quotient(difference: float, variance: float) -> float:
    if difference == 0.0:
        return 0.0
    return (
        difference / math.sqrt(variance) if variance > 0.0 else math.copysign(math.inf, difference)
    )
