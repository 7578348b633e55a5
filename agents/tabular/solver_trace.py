"""What a tabular solver returns: the history of its iterates and the last policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.tabular.feasibility import check_feasible, cost_units
from agents.tabular.multiplier_warnings import warn_of_multipliers
from agents.tabular.own_units import UnitsName, in_units, units_named
from safe_envs.contract.argument_checks import check_count
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP, amounts

UNMET = 50  # policies beyond the limits before checking whether any policy meets them
ROUNDING = 1e-9  # of the largest possible cost: a violation up to this is printed as feasible


@dataclass(frozen=True, eq=False, repr=False)
class SolverTrace:
    """One row per exact policy evaluation, and the LAST policy (never an average).

    Row t belongs to the policy that would be returned if the solver stopped there.
    """

    value: np.ndarray  # (evaluations,) V_r
    violation: np.ndarray  # (evaluations, m) V_c - limit; feasible if <= 0
    multipliers: np.ndarray  # (evaluations, m)
    policy: np.ndarray  # (S, A)
    largest_costs: np.ndarray | None = None  # (m,) the largest |V_c| of any policy; None: all 1

    def __repr__(self) -> str:
        largest = 1.0 if self.largest_costs is None else self.largest_costs
        met = (self.violation[-1] <= ROUNDING * largest).all()
        states, actions = self.policy.shape
        return (
            f"SolverTrace: {len(self.value):,} evaluations, the last: value {self.value[-1]:.4g}; "
            f"{amounts('violation', self.violation[-1])} ({'' if met else 'not '}feasible); "
            f"{amounts('multiplier', self.multipliers[-1])}; {states} states, {actions} actions"
        )

    def errors(self, optimal_value: float) -> np.ndarray:
        """Return max(|optimal_value - value|, violation, 0) of every row, (evaluations,)."""
        gap = np.abs(optimal_value - self.value)
        return np.maximum(gap, self.violation.max(axis=1, initial=0.0))

    def tail_error(self, optimal_value: float, fraction: float = 0.2) -> float:
        """Return the worst of `errors` over the last `fraction` of the rows.

        An oscillating solver can end at a lucky moment; its tail shows the oscillation.
        """
        count = max(1, round(fraction * len(self.value)))
        return float(self.errors(optimal_value)[-count:].max())


class TraceRecorder:
    """Evaluates policies within a budget and records one row for each.

    Solvers work on its `cmdp`, the problem in the chosen units, and pass everything in those units.
    The rows are in the units in which the problem was given.

    If the first policies all exceed the limits, it checks whether any policy meets them. The
    evaluations for this check do not count toward the budget.
    """

    def __init__(
        self,
        cmdp: TabularCMDP,
        evaluations: int,
        units: UnitsName = "own",
        multiplier_cap: float = np.inf,
    ) -> None:
        check_count(evaluations=evaluations)
        self._given, self._units = cmdp, units_named(units, cmdp)
        self.cmdp = in_units(cmdp, self._units)
        self.used = 0
        self._multiplier_cap = multiplier_cap
        self._met = False  # whether some policy is known to meet the limits
        self._value = np.empty(evaluations)
        self._violation = np.empty((evaluations, cmdp.num_constraints))
        self._multipliers = np.empty((evaluations, cmdp.num_constraints))

    @property
    def open(self) -> bool:
        """Whether the budget allows another evaluation."""
        return self.used < len(self._value)

    def evaluate(
        self, policy: np.ndarray, multipliers: np.ndarray, extra: np.ndarray | None = None
    ) -> PolicyEvaluation:
        """Return the exact evaluation of the current policy and record it."""
        evaluation = self.cmdp.evaluate(policy, extra)
        self.write(evaluation, multipliers)
        return evaluation

    def write(self, evaluation: PolicyEvaluation, multipliers: np.ndarray) -> None:
        """Record the next row, one per policy evaluation.

        Raises:
            ValueError: if no policy meets the limits.
        """
        violation = self._units.costs_of(evaluation) - self._given.limits
        self._value[self.used] = self._units.value_of(evaluation)
        self._violation[self.used] = violation
        self._multipliers[self.used] = self._units.multipliers * multipliers
        self.used += 1
        if not self._met:
            self._met = bool((violation <= 0.0).all())
            if not self._met and self.used == min(UNMET, len(self._value)):
                check_feasible(self._given)
                self._met = True

    def trace(self, policy: np.ndarray) -> SolverTrace:
        """Return all rows with the last policy; called by the solver itself.

        Warns:
            MultiplierCapWarning: if a multiplier stayed at its cap to the end.
            MultiplierGrowthWarning: if the multipliers grew and the violation did not fall.
        """
        rows = self._value, self._violation, self._multipliers
        cap, units = self._multiplier_cap, self._units.multipliers
        warn_of_multipliers(self._given, *rows, cap, units, stacklevel=3)
        return SolverTrace(*rows, policy, cost_units(self._given))


def starting_policy(cmdp: TabularCMDP, initial_policy: np.ndarray | None) -> np.ndarray:
    """Return a checked copy of the initial policy; the uniform policy if it is None.

    Raises:
        ValueError: if it is not an (S, A) table whose rows are probabilities.
    """
    if initial_policy is None:
        return cmdp.uniform_policy()
    policy = np.array(initial_policy, dtype=np.float64)
    shape = (cmdp.num_states, cmdp.num_actions)
    rows_are_distributions = (
        policy.shape == shape
        and (policy >= 0).all()
        and np.allclose(policy.sum(axis=1), 1.0, rtol=0, atol=1e-9)
    )
    if not rows_are_distributions:
        raise ValueError(
            f"initial_policy of shape {policy.shape} is not a policy of this CMDP; pass an array "
            f"of shape {shape} whose rows are >= 0 and sum to 1"
        )
    return policy


def random_policy(cmdp: TabularCMDP, seed: int) -> np.ndarray:
    """Return an (S, A) policy with every row drawn uniformly from the simplex."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(cmdp.num_actions), size=cmdp.num_states)
