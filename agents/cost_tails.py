"""The tail of a cost: its worst value, percentiles and conditional value at risk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CostTails:
    """How costly the bad cases are; see `cost_tails` for the definitions."""

    mean: float
    worst: float  # the largest
    p90: float  # 90th percentile
    p95: float
    cvar: float  # mean of the worst tenth


def cost_tails(costs: np.ndarray, cvar_level: float = 0.9) -> CostTails:
    """Return mean, worst, P90, P95 and CVaR over all entries of costs.

    Pass the seed means, `costs.mean(axis=1)`, for the numbers that papers print (worst and
    percentiles over 5 values), and the per-episode costs for the tail that users experience. With
    x_(1) >= ... >= x_(n) in decreasing order,

        P_q    = numpy's percentile with linear interpolation, at position q / 100 * (n - 1)
        CVaR_a = (1 / w) * sum_i w_i x_(i),   w = (1 - a) n,   w_i = clip(w - i + 1, 0, 1)

    so the case on the edge of the worst tenth is weighted by the part inside it, and with
    n <= 10 the CVaR is the worst case. Source of the CVaR: Rockafellar and Uryasev 2002,
    Conditional Value-at-Risk for General Loss Distributions, proposition 8.

    Args:
        costs: shape (seeds,) or (seeds, episodes).
        cvar_level: a, from 0 (the mean) to below 1.

    Raises:
        ValueError: if costs is refused or cvar_level is out of range.
    """
    values = np.sort(
        finite_values("costs", costs, "(seeds,) or (seeds, episodes)", (1, 2)), axis=None
    )
    if not 0.0 <= cvar_level < 1.0:
        raise ValueError(f"cvar_level is {cvar_level}; it must be in [0, 1); pass 0.9")
    weights = np.clip((1.0 - cvar_level) * values.size - np.arange(values.size), 0.0, 1.0)
    p90, p95 = np.percentile(values, [90.0, 95.0])
    return CostTails(
        mean=float(values.mean()),
        worst=float(values[-1]),
        p90=float(p90),
        p95=float(p95),
        cvar=float(np.average(values[::-1], weights=weights)),
    )


def finite_values(
    name: str, values: np.ndarray, shape: str, dimensions: tuple[int, ...]
) -> np.ndarray:
    """Return values as a float64 array.

    Args:
        name: of the argument, for errors.
        values: of finished seeds or episodes.
        shape: the allowed shapes in words.
        dimensions: the allowed numbers of axes.

    Raises:
        ValueError: if it is empty, not finite, or of another shape.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions:
        raise ValueError(
            f"{name} has shape {array.shape}; allowed: {shape}; reshape or select accordingly"
        )
    if array.size == 0:
        raise ValueError(
            f"{name} is empty, shape {array.shape}; allowed: {shape} with at least one entry; "
            "pass the values of a finished seed"
        )
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name} has {len(bad)} entries that are NaN or infinite, the first at index {where}; "
            "every entry must be finite; leave failed seeds out and report their number"
        )
    return array
