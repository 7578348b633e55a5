"""A CMDP in its own units, so that no solver's settings depend on the units of its tables.

Dollars or cents, meters or feet: multiplying the reward by a, and each cost and its limit by a b_i
of its own, leaves the best policies as they are and multiplies the optimal multipliers by a / b_i.
So does adding a constant to the reward, or to a cost with constant / (1 - discount) to its limit.
The solvers therefore work on (reward - zero) / unit and (cost_i - zero_i) / unit_i, with zeros and
units taken from the tables themselves, and convert values, costs and multipliers back.
Multiplication by a power of two is exact, so such problems give the same policies bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from safe_envs.contract.argument_checks import check_choice
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP

UnitsName = Literal["own", "given"]

ROUNDING = 1e-12  # of the largest entry: a table whose entries differ by less is constant
LARGEST_LIMIT = 1e100  # in own units, in which every entry of a table lies in [-1, 1]


class Units(NamedTuple):
    """What counts as 1, and as 0, in the reward and in each cost of a problem."""

    reward: float
    costs: np.ndarray  # (m,)
    zero_reward: float
    zero_costs: np.ndarray  # (m,)

    @property
    def multipliers(self) -> np.ndarray:
        """The unit of each multiplier, reward per cost, (m,)."""
        return self.reward / self.costs

    def value_of(self, evaluation: PolicyEvaluation) -> float:
        """Return V_r in the units of the given problem, from an evaluation in these."""
        steps = float(evaluation.state_occupancy.sum())  # discounted, 1 / (1 - discount)
        return self.reward * evaluation.value + self.zero_reward * steps

    def costs_of(self, evaluation: PolicyEvaluation) -> np.ndarray:
        """Return V_c in the units of the given problem, (m,), from an evaluation in these."""
        steps = float(evaluation.state_occupancy.sum())
        return self.costs * evaluation.costs + self.zero_costs * steps


def own_units(cmdp: TabularCMDP) -> Units:
    """Return a problem's own units.

    A table that reaches zero, or has both signs, counts from 0 and has its largest |entry| as
    unit. A table of one sign counts from its entry closest to 0, and its unit is the difference of
    the largest and the smallest entry, which for a constant table is replaced by its |entry|. A
    cost that is 0 everywhere has the unit |limit|. A unit that is then still 0 is 1.
    """
    zero_reward, reward = _zero_and_unit(cmdp.reward)
    scales = [_zero_and_unit(cost) for cost in cmdp.costs]
    units = [
        unit or abs(float(limit)) or 1.0
        for (_, unit), limit in zip(scales, cmdp.limits, strict=True)
    ]
    zeros = [zero for zero, _ in scales]
    return Units(reward or 1.0, np.array(units), zero_reward, np.array(zeros))


def units_named(name: UnitsName, cmdp: TabularCMDP) -> Units:
    """Return the units that a solver's `units` argument means: its own, or 1 and 0.

    Raises:
        ValueError: for another name.
    """
    check_choice("units", name, ("own", "given"))
    if name == "own":
        return own_units(cmdp)
    return Units(1.0, np.ones(cmdp.num_constraints), 0.0, np.zeros(cmdp.num_constraints))


def in_units(cmdp: TabularCMDP, units: Units) -> TabularCMDP:
    """Return the same problem in these units; itself if it is stated in them."""
    kept = units.reward == 1.0 and units.zero_reward == 0.0
    if kept and (units.costs == 1.0).all() and (units.zero_costs == 0.0).all():
        return cmdp
    with np.errstate(over="ignore"):
        limits = (cmdp.limits - units.zero_costs / (1.0 - cmdp.discount)) / units.costs
    zeros, scales = units.zero_costs[:, None, None], units.costs[:, None, None]
    return replace(
        cmdp,
        reward=(cmdp.reward - units.zero_reward) / units.reward,
        costs=(cmdp.costs - zeros) / scales,
        limits=np.clip(limits, -LARGEST_LIMIT, LARGEST_LIMIT),
    )


def _zero_and_unit(table: np.ndarray) -> tuple[float, float]:
    low, high = float(table.min()), float(table.max())
    largest = max(abs(low), abs(high))
    if low <= 0.0 <= high or high - low <= ROUNDING * largest:
        return 0.0, largest
    return (low if low > 0.0 else high), high - low
