"""Attackers who try to compute single episodes from the numbers of a row.

They know the number of episodes, how every number is defined, and how far it is rounded.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

EXACT = 1e-9  # relative, of a number in full precision
NICE = [mantissa * 10.0**power for power in range(-12, 8) for mantissa in (1, 2, 5)]


@dataclass(frozen=True)
class Cell:
    """The values that a number may have had before it was rounded."""

    low: float
    high: float


def exact_cell(value):
    room = EXACT * max(1.0, abs(value))
    return Cell(value - room, value + room)


def step_of(value, supported=0.0, hidden=0.0):
    """The step by the rule in the documentation, found by search among all steps."""
    smaller = [step for step in NICE if step <= supported * (1 + 1e-9)]
    larger = [step for step in NICE if step >= hidden * (1 - 1e-9)]
    digits = [10.0**power for power in range(-12, 8) if 10.0**power <= abs(value) / 100 * 1.000001]
    return max([*smaller[-1:], larger[0] if hidden else 0.0, *digits[-1:]])


def rounded_cell(shown, step):
    return Cell(shown - step / 2, shown + step / 2)


def quantile_place(percent, total):
    """Index of the order statistic at or below a quantile, and the weight of the next one."""
    position = percent / 100 * (total - 1)
    below = min(math.floor(position + 1e-9), total - 2)
    return below, position - below


def solved_quantiles(quantiles):
    """All sorted values of a hundred episodes from their 101 quantiles, by least squares."""
    weights = np.zeros((len(quantiles), 100))
    for percent in range(len(quantiles)):
        below, share = quantile_place(percent, 100)
        weights[percent, below], weights[percent, below + 1] = 1 - share, share
    known = np.isfinite(quantiles)
    if not known.any():
        return None
    return np.linalg.lstsq(weights[known], np.array(quantiles)[known], rcond=None)[0]


class SortedAttack:
    """Bounds of order statistics by linear programming over the sorted values of real numbers.

    Args:
        total: number of episodes.
        low: no episode is below this.
        high: none is above this.
    """

    def __init__(self, total, low, high):
        self.total, self.range = total, (low, high)
        order = np.eye(total)[:-1] - np.eye(total)[1:]  # x_i - x_(i+1) <= 0
        self.rows, self.most = [*order], [0.0] * (total - 1)

    def know(self, weights, cell):
        self.rows += [weights, -weights]
        self.most += [cell.high, -cell.low]

    def know_mean(self, cell):
        self.know(np.full(self.total, 1 / self.total), cell)

    def know_quantile(self, percent, cell):
        below, share = quantile_place(percent, self.total)
        weights = np.zeros(self.total)
        weights[below], weights[below + 1] = 1 - share, share
        self.know(weights, cell)

    def bounds(self, index):
        """Smallest and largest possible value of an order statistic."""
        found = []
        for sign in (1.0, -1.0):
            cost = np.zeros(self.total)
            cost[index] = sign
            result = linprog(cost, np.array(self.rows), self.most, bounds=self.range)
            assert result.status == 0, result.message
            found.append(result.x[index])
        return tuple(found)


class LatticeAttack:
    """Bounds of how many episodes have a value, by integer programming over all such counts.

    Args:
        values: that an episode may have, increasing.
        policies: number of policies.
        each: episodes of a policy.
    """

    def __init__(self, values, policies, each):
        self.values, self.policies, self.total = np.array(values), policies, policies * each
        self.each = each
        self.rows, self.low, self.high = [], [], []
        for policy in range(policies):
            self._know(np.ones(len(values)), each, each, policy)

    def _know(self, weights, low, high, policy=None):
        chosen = np.ones(self.policies) if policy is None else np.eye(self.policies)[policy]
        self.rows.append(np.outer(chosen, weights).ravel())
        self.low.append(low)
        self.high.append(high)

    def know_mean(self, cell, policy=None):
        count = self.total if policy is None else self.each
        self._know(self.values, count * cell.low, count * cell.high, policy)

    def know_share_above(self, limit, cell):
        self._know(1.0 * (self.values > limit), self.total * cell.low, self.total * cell.high)

    def know_quantile(self, percent, cell):
        below, share = quantile_place(percent, self.total)
        mixed = (1 - share) * self.values[:, None] + share * self.values[None, :]
        room = EXACT * max(1.0, abs(cell.high))
        fits = (mixed >= cell.low - room) & (mixed <= cell.high + room)
        lower, upper = np.nonzero(fits & (self.values[:, None] <= self.values[None, :]))
        for index, found in ((below, lower), (below + 1, upper)):
            if index == below + 1 and share < 1e-9:
                continue
            at_most = 1.0 * (np.arange(len(self.values)) <= found.max())
            self._know(at_most, index + 1, self.total)  # x_index <= its largest possible value
            less = 1.0 * (np.arange(len(self.values)) < found.min())
            self._know(less, 0, index)

    def bounds(self, place):
        """Smallest and largest possible number of episodes that have a value."""
        weights = np.zeros((self.policies, len(self.values)))
        weights[:, place] = 1.0
        found = []
        for sign in (1.0, -1.0):
            result = milp(
                sign * weights.ravel(),
                constraints=LinearConstraint(np.array(self.rows), self.low, self.high),
                bounds=Bounds(0, self.each),
                integrality=np.ones(weights.size),
                options={"time_limit": 5.0, "mip_rel_gap": 0.0},
            )
            assert result.x is not None, result.message
            found.append(round(sign * result.fun))
        return tuple(found)


def lattice_attack_on(full, shown, values, *, exact=False):
    """What is known of the first cost of a row.

    Args:
        full: the statistics in full, which say how far numbers are rounded.
        shown: the statistics that the attacker has.
        values: that an episode may have.
        exact: the numbers are not rounded.
    """
    cost, known = full.costs[0], shown.costs[0]
    total = full.policies * full.episodes
    attack = LatticeAttack(values, full.policies, full.episodes)

    def cell(number, step):
        return exact_cell(number) if exact else rounded_cell(number, step)

    mean = cost.mean
    step = step_of(mean.value, (mean.high - mean.low) / 8, 2 * max(cost.spans.values) / total)
    attack.know_mean(cell(known.mean.value, step))
    for policy, seed_mean in enumerate(known.seed_means if full.policies > 1 else ()):
        span = cost.spans.values[policy]
        step = step_of(cost.seed_means[policy], hidden=2 * span / full.episodes)
        attack.know_mean(cell(seed_mean, step), policy)
    share = known.violation_probability.value
    attack.know_share_above(cost.limit, cell(share, step_of(0.0, hidden=2 / total)))
    for percent, number in enumerate(known.quantiles):
        if math.isfinite(number):
            attack.know_quantile(percent, cell(number, cost_quantile_step(cost, percent, total)))
    return attack


def cost_quantile_step(cost, percent, total):
    """The step of a published quantile of costs."""
    if percent in (90, 95):
        tail = cost.p90 if percent == 90 else cost.p95
        return step_of(tail.value, hidden=(tail.high - tail.low) / 4)
    return tenth_step(cost.quantiles, percent, total)


def tenth_step(quantiles, percent, total):
    """The step of another published quantile, by the order statistics around it."""
    share = percent / 100
    around = math.ceil(196 * math.sqrt(share * (1 - share) / total))
    ends = (max(percent - around, 0), min(percent + around, 100))
    low, high = (quantiles[end] for end in ends)
    return step_of(quantiles[percent], hidden=(high - low) / 4)
