"""Whether any policy of a CMDP meets its limits, and the error if none does.

Phase one of the occupancy linear program, min over policies of the largest violation, by column
generation (Dantzig and Wolfe 1960). Every column is the exact optimum of one weighted cost by
policy iteration, so no program over all states and actions is solved: on 300 dense states this
takes a few hundredths of a second, while the linear program takes ten seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from agents.tabular.own_units import in_units, own_units
from safe_envs.tabular.model import TabularCMDP

TOLERANCE = 1e-9  # of `cost_units`; a limit missed by less counts as met: values are rounded
ROUNDING = 1e-12  # of the same: smaller differences of action values are rounding
MOST_COLUMNS = 1000
ENOUGH_COLUMNS = 100  # enough if they prove that no policy meets the limits, even by a little


class Closest(NamedTuple):
    """The policies that come closest to the limits."""

    costs: np.ndarray  # (m,) V_c of one of them
    violation: float  # lower bound of the largest (V_c - limit) / unit under every policy


def check_feasible(cmdp: TabularCMDP) -> Closest:
    """Return, in the problem's own units, how close policies come to the limits if one meets them.

    Raises:
        ValueError: if none does; it names the constraints and the lowest possible costs.
    """
    units = own_units(cmdp)
    own = in_units(cmdp, units)
    closest = closest_to_limits(own)
    if closest.violation <= TOLERANCE:
        return closest
    least = np.array([cheapest(own, row)[0] for row in np.eye(cmdp.num_constraints)])
    impossible = least - own.limits > TOLERANCE * cost_units(own)
    names = [f"{name!r}" for name, no in zip(cmdp.constraint_names, impossible, strict=True) if no]
    constant = units.zero_costs / (1.0 - cmdp.discount)
    least, costs = units.costs * least + constant, units.costs * closest.costs + constant
    if names:
        plural = "s" if len(names) > 1 else ""
        reason = f"which is above the limit{plural} of {', '.join(names)}"
    else:
        reason = (
            "but no policy reaches them all at once; the costs closest to the limits are "
            f"{_shown(costs)}"
        )
    raise ValueError(
        f"no policy meets the limits {cmdp.limits.tolist()}: the lowest possible value of each "
        f"cost alone is {_shown(least, np.where(impossible, cmdp.limits, -np.inf))}, {reason}; "
        "raise the limits"
    )


def closest_to_limits(cmdp: TabularCMDP) -> Closest:
    """Return how close policies come to the limits; stops as soon as one meets them.

    Every weighting w >= 0 with sum 1 of the violations e = (V_c - limit) / unit bounds their
    maximum from below by min over policies of w . e. The mixtures of the policies found so far
    bound its minimum from above; the prices of that problem are the next w.
    """
    units = cost_units(cmdp)
    # No V_c exceeds its unit, so limits beyond two units are set to two, which HiGHS can handle.
    limits = np.clip(cmdp.limits, -2.0 * units, 2.0 * units)
    weights = np.full(cmdp.num_constraints, 1.0 / max(1, cmdp.num_constraints))
    columns: list[np.ndarray] = []  # (m,) costs of each policy found
    lower, mixture = -np.inf, np.full(cmdp.num_constraints, -np.inf)
    for _ in range(MOST_COLUMNS if cmdp.num_constraints else 0):
        least, costs = cheapest(cmdp, weights / units)
        lower = max(lower, least - float(weights @ (limits / units)))
        columns.append(costs)
        excess = (np.stack(columns, axis=1) - limits[:, None]) / units[:, None]  # (m, k)
        shares, weights = _best_mixture(excess)
        mixture = np.stack(columns, axis=1) @ shares
        upper = float((excess @ shares).max())
        if upper <= TOLERANCE or upper - lower <= 0.1 * TOLERANCE:
            break
        if lower > TOLERANCE and len(columns) >= ENOUGH_COLUMNS:
            break
    return Closest(mixture, lower)


def cheapest(cmdp: TabularCMDP, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Return a lower bound of weights . V_c over all policies, and the V_c of the cheapest, (m,).

    By policy iteration. With V of the last policy and d(s) = V(s) - min_a Q(s, a), every policy has
    values of at least V - max d / (1 - discount), so the bound holds even if rounding stopped the
    iteration early.
    """
    states, choices = np.arange(cmdp.num_states), np.eye(cmdp.num_actions)
    chosen = np.zeros(cmdp.num_states, dtype=np.int64)
    rounding = ROUNDING * float(np.abs(weights) @ cost_units(cmdp))
    last_sum = np.inf
    while True:
        evaluation = cmdp.evaluate(choices[chosen])
        q = np.tensordot(weights, evaluation.q_costs, 1)  # (S, A)
        now = q[states, chosen]
        regret = now - q.min(axis=1)
        better = regret > rounding
        if not better.any() or not now.sum() < last_sum:
            bound = float(weights @ evaluation.costs) - float(regret.max()) / (1.0 - cmdp.discount)
            return bound, evaluation.costs
        last_sum = float(now.sum())
        chosen = np.where(better, q.argmin(axis=1), chosen)


def cost_units(cmdp: TabularCMDP) -> np.ndarray:
    """Return the largest |V_c| that each cost could have, max |c| / (1 - discount), (m,)."""
    largest = np.abs(cmdp.costs).max(axis=(1, 2), initial=0.0) / (1.0 - cmdp.discount)
    return np.where(largest > 0.0, largest, 1.0)


def _best_mixture(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares (k,) of columns with the least largest row, and the rows' prices (m,)."""
    rows, columns = excess.shape
    if rows == 1:
        return np.eye(columns)[excess[0].argmin()], np.ones(1)
    solution = linprog(
        np.append(np.zeros(columns), 1.0),
        np.hstack([excess, -np.ones((rows, 1))]),
        np.zeros(rows),
        np.append(np.ones(columns), 0.0)[None],
        np.ones(1),
        bounds=[(0, None)] * columns + [(None, None)],
        method="highs",
    )
    shares = np.maximum(solution.x[:-1], 0.0)
    prices = np.maximum(-solution.ineqlin.marginals, 0.0)
    return shares / shares.sum(), prices / prices.sum()


def _shown(values: np.ndarray, limits: np.ndarray | None = None) -> str:
    """Return the numbers with six digits, or as many as show by how much they exceed the limits."""
    digits, texts = 6, [f"{value:.6g}" for value in values]
    if limits is not None:
        least_accuracy = 0.1 * (values - limits)
        while (np.abs(np.array(texts, float) - values) > least_accuracy).any() and digits < 17:
            digits += 1
            texts = [f"{value:.{digits}g}" for value in values]
    return f"[{', '.join(texts)}]"
