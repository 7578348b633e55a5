"""How good and how feasible outputs are, as the papers on constraint layers measure it.

Per instance: gap = f(y) - f*, violation = the largest of the rows'. Source of the measures: Donti,
Rolnick and Kolter, "DC3" (arXiv 2104.12225), and Chu, Boukas and Udell, "SnareNet" (arXiv
2602.09317).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safe_envs.action_constraints.rows import violation
from safe_envs.control.quadratic_families import QuadraticFamily

FLOOR = 1e-16  # of gaps and violations, for geometric means
LEVELS = (1e-1, 1e-2, 1e-4)  # of violations that count as feasible
SOLVED = 1e-4  # both gap and violation


@dataclass(frozen=True)
class Quality:
    """What outputs on N instances are worth."""

    gap_mean: float
    gap_geometric: float  # mean of gaps, those at or below 0 counted as 1e-16
    gap_max: float
    gap_min: float  # below 0 where outputs are infeasible, or the reference is a local optimum
    relative_gap: float  # mean gap / |mean optimum|
    violation_mean: float  # of the instances' largest
    violation_max: float
    feasible: tuple[float, ...]  # shares within each of `LEVELS`
    solved: float  # share with gap and violation below 1e-4


def quality(
    family: QuadraticFamily, x: np.ndarray, outputs: np.ndarray, optima: np.ndarray
) -> Quality:
    """Return the quality of outputs.

    Args:
        family: of programs.
        x: (N, m).
        outputs: (N, n).
        optima: f*, (N,).

    Raises:
        ValueError: if an output is not finite: means would hide it.
    """
    if not np.isfinite(outputs).all():
        bad = (~np.isfinite(outputs).all(axis=1)).sum()
        raise ValueError(f"{bad} of {len(outputs)} outputs are not finite; the training diverged")
    gaps = family.objective(outputs) - optima
    rows = family.rows(x)
    worst = violation(rows.values(outputs), rows.lower, rows.upper).max(axis=1)
    return Quality(
        gap_mean=float(gaps.mean()),
        gap_geometric=float(np.exp(np.log(np.maximum(gaps, FLOOR)).mean())),
        gap_max=float(gaps.max()),
        gap_min=float(gaps.min()),
        relative_gap=float(gaps.mean() / abs(optima.mean())),
        violation_mean=float(worst.mean()),
        violation_max=float(worst.max()),
        feasible=tuple(float((worst <= level).mean()) for level in LEVELS),
        solved=float(((np.abs(gaps) < SOLVED) & (worst < SOLVED)).mean()),
    )
