"""The exact optimum of a tabular CMDP, from the linear program over occupancies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import OptimizeResult, linprog

from agents.tabular.feasibility import cheapest, check_feasible, cost_units
from agents.tabular.own_units import in_units, own_units
from safe_envs.tabular.model import TabularCMDP, amounts

SLACK = 1e-11  # of the largest possible cost, for limits that no policy meets by more than rounding


class Optimum(NamedTuple):
    """An optimal policy of a `TabularCMDP`, with its value and the price of each constraint."""

    value: float  # V_r*
    costs: np.ndarray  # (m,) V_c of the policy
    multipliers: np.ndarray  # (m,) lambda* >= 0
    policy: np.ndarray  # (S, A)

    def __repr__(self) -> str:
        states, actions = self.policy.shape
        return (
            f"Optimum: value {self.value:.4g}; {amounts('cost', self.costs)}; "
            f"{amounts('multiplier', self.multipliers)}; {states} states, {actions} actions"
        )


def linear_program(cmdp: TabularCMDP) -> Optimum:
    """Return the exact optimum of max V_r s.t. V_c <= limits.

    The variables are the unnormalized occupancies mu(s, a) = sum_t discount^t Pr(s_t, a_t):

        max <mu, r>  s.t.  <mu, c_i> <= limit_i,  mu >= 0,
        sum_a mu(s, a) = initial(s) + discount sum_{s', a'} P(s | s', a') mu(s', a').

    Source: Altman, "Constrained Markov Decision Processes" (1999), chapter 3; Problem 2 of the
    augmented-Lagrangian paper (arXiv 2605.11694). Solved by HiGHS in the problem's own units,
    because its tolerances are absolute. Value and costs are those of the returned policy by exact
    evaluation; states of zero occupancy get the uniform policy.

    Raises:
        ValueError: if no policy meets the limits; it names the constraints and the lowest costs.
    """
    units = own_units(cmdp)
    own = in_units(cmdp, units)
    solution = _solve(own, own.limits)
    if not solution.success:
        missed = max(check_feasible(cmdp).violation, 0.0) + SLACK  # infeasible only by rounding
        solution = _solve(own, own.limits + missed * cost_units(own))
    if not solution.success:
        raise ValueError(f"HiGHS did not solve the occupancy program: {solution.message}")
    policy = policy_of(solution.x.reshape(cmdp.reward.shape))
    evaluation = cmdp.evaluate(policy)
    multipliers = units.multipliers * np.maximum(-solution.ineqlin.marginals, 0.0)
    return Optimum(evaluation.value, evaluation.costs, multipliers, policy)


def least_cost(cmdp: TabularCMDP, constraint: int = 0) -> float:
    """Return the least expected discounted sum of one cost that any policy reaches.

    By policy iteration, which compares values only relative to the cost's largest one.
    """
    weights = np.eye(cmdp.num_constraints)[constraint]
    return float(cheapest(cmdp, weights)[1][constraint])


def policy_of(occupancy: np.ndarray) -> np.ndarray:
    """Return the (S, A) policy with the given (S, A) occupancy; uniform where it is zero."""
    occupancy = np.maximum(occupancy, 0.0)
    mass = occupancy.sum(axis=1, keepdims=True)
    uniform = np.full_like(occupancy, 1.0 / occupancy.shape[1])
    return np.where(mass > 1e-13, occupancy / np.maximum(mass, 1e-13), uniform)


def _solve(cmdp: TabularCMDP, limits: np.ndarray) -> OptimizeResult:
    """Return HiGHS's solution of the occupancy program with these limits."""
    return linprog(
        -cmdp.reward.ravel(),
        cmdp.costs.reshape(cmdp.num_constraints, cmdp.reward.size),
        limits,
        _flow_equations(cmdp),
        cmdp.initial,
        bounds=(0, None),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )


def _flow_equations(cmdp: TabularCMDP) -> sparse.csr_array:
    """Return the (S, S * A) left side: what leaves a state minus what reaches it."""
    outflow = sparse.kron(
        sparse.identity(cmdp.num_states), np.ones((1, cmdp.num_actions)), format="csr"
    )
    inflow = sparse.csr_array(cmdp.P.reshape(-1, cmdp.num_states).T)
    return sparse.csr_array(outflow - cmdp.discount * inflow)
