"""PQA-ALM: projected Q-ascent on the augmented Lagrangian; its last iterate converges.

Source: "Augmented Lagrangian Method for Last-Iterate Convergence for Constrained MDPs"
(arXiv 2605.11694), algorithm 1 with the inner step of equation 7.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from agents.tabular.augmented_lagrangian import augmented_lagrangian_gain, constraint_prices
from agents.tabular.feasibility import cost_units
from agents.tabular.own_units import UnitsName
from agents.tabular.simplex import project_rows_to_simplex
from agents.tabular.solver_trace import (
    SolverTrace,
    TraceRecorder,
    starting_policy,
)
from safe_envs.contract.argument_checks import check_choice, check_count, check_positive
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP

StepRule = Literal["monotone", "fixed"]

ROUNDING = 1e-15  # times the size of eta Q: a shorter move is rounding and taken without a test
STEP_GROWTH, LARGEST_STEP = 1.25, 1e3
PENALTY_GROWTH, LARGEST_PENALTY = 3.0, 1e6
SMALLEST_VIOLATION = 1e-9  # of the largest cost that a policy could have
PATIENCE = 5  # dual steps without progress before the penalty grows


def pqa_alm(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    step_rule: StepRule = "monotone",
    step_size: float = 1.0,
    penalty: float = 3.0,
    primal_steps: int = 20,
    initial_policy: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of PQA-ALM on an exactly known CMDP.

    Primal step, for every state (eq. 7), with prices w of the current policy (eq. 6):

        pi <- Proj_simplex(pi + eta Q_{r - w . c}(s, .)),  w = max(0, lambda + tau (V_c - limit)).

    Dual step after every `primal_steps` of them (eq. 4): lambda <- w.

    Differs from the paper: with the default `step_rule="monotone"` a step is taken only if it
    does not lower the augmented Lagrangian; then eta grows by 1.25, otherwise it is halved. tau
    grows threefold after five dual steps in a row over each of which the violation has not
    fallen by a tenth and is above one percent of its limit. Fixed values that suit one problem
    end in a limit cycle on another; the monotone rule needs no tuning. Every trial, taken
    or not, counts as one evaluation. `step_rule="fixed"` is the paper's method; step_size=1,
    penalty=10, primal_steps=20 works on both grid worlds.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_rule: "monotone" or "fixed".
        step_size: eta, in units of 1 / r; the first one if the rule is monotone.
        penalty: tau, in units of r / c^2; the first one if the rule is monotone.
        primal_steps: primal steps taken per dual step.
        initial_policy: (S, A) start; uniform if None.
        units: "own" takes r and c from the problem, see `own_units`; "given" sets them to 1.

    Raises:
        ValueError: if an argument is out of range or no policy meets the limits; the error says
            which.

    Warns:
        MultiplierGrowthWarning: if the multipliers grew and the violation did not fall.
    """
    check_positive(step_size=step_size, penalty=penalty)
    check_count(primal_steps=primal_steps)
    check_choice("step_rule", step_rule, ("monotone", "fixed"))
    policy = starting_policy(cmdp, initial_policy)
    record = TraceRecorder(cmdp, evaluations, units)
    run = _fixed if step_rule == "fixed" else _monotone
    return record.trace(run(record, policy, step_size, penalty, primal_steps))


def projected_q_ascent(
    policy: np.ndarray, evaluation: PolicyEvaluation, prices: np.ndarray, step_size: float
) -> np.ndarray:
    """Return Proj_simplex(pi + eta Q_{r - w . c}) of every state, shape (S, A) (eq. 7).

    The advantage replaces Q: they differ by a constant per state, which the projection removes, and
    the advantage has smaller rounding errors.
    """
    return project_rows_to_simplex(policy + step_size * evaluation.priced_advantage(prices))


def _fixed(
    record: TraceRecorder,
    policy: np.ndarray,
    step_size: float,
    penalty: float,
    primal_steps: int,
) -> np.ndarray:
    cmdp = record.cmdp
    multipliers = np.zeros(cmdp.num_constraints)
    current = record.evaluate(policy, multipliers)
    while record.open:
        prices = constraint_prices(current.costs, cmdp.limits, multipliers, penalty)
        policy = projected_q_ascent(policy, current, prices, step_size)
        current = cmdp.evaluate(policy)
        if record.used % primal_steps == 0:
            multipliers = constraint_prices(current.costs, cmdp.limits, multipliers, penalty)
        record.write(current, multipliers)
    return policy


def _monotone(
    record: TraceRecorder,
    policy: np.ndarray,
    step_size: float,
    penalty: float,
    primal_steps: int,
) -> np.ndarray:
    cmdp = record.cmdp
    limits, multipliers = cmdp.limits, np.zeros(cmdp.num_constraints)
    current = record.evaluate(policy, multipliers)
    largest_costs = cost_units(cmdp)
    largest_value = float(np.abs(cmdp.reward).max()) / (1.0 - cmdp.discount)
    largest_q = max(largest_value, float(largest_costs.max(initial=0.0)))
    small = np.maximum(0.01 * np.abs(limits), SMALLEST_VIOLATION * largest_costs)  # (m,)
    taken, slow_dual_steps, last_violation = 0, 0, np.inf
    while record.open:
        prices = constraint_prices(current.costs, limits, multipliers, penalty)
        trial_policy = projected_q_ascent(policy, current, prices, step_size)
        trial = cmdp.evaluate(trial_policy)
        move = trial_policy - policy
        rounding = ROUNDING * (1.0 + step_size * largest_q)
        rounding_only = float(np.vdot(move, move)) < rounding**2
        gain = augmented_lagrangian_gain(current, trial, move, limits, multipliers, penalty)
        if gain >= 0.0 or rounding_only:
            policy, current = trial_policy, trial
            taken += 1
            if not rounding_only:
                step_size = min(STEP_GROWTH * step_size, LARGEST_STEP)
            if taken % primal_steps == 0:
                moves = _complementary_violation(current, limits, multipliers, penalty)
                violation = float((moves / small).max(initial=0.0))
                slow = violation > max(0.9 * last_violation, 1.0)
                slow_dual_steps = slow_dual_steps + 1 if slow else 0
                if slow_dual_steps == PATIENCE:
                    penalty = min(PENALTY_GROWTH * penalty, LARGEST_PENALTY)
                    slow_dual_steps = 0
                last_violation = violation
                multipliers = constraint_prices(current.costs, limits, multipliers, penalty)
        else:
            step_size = 0.5 * step_size
        record.write(current, multipliers)
    return policy


def _complementary_violation(
    evaluation: PolicyEvaluation, limits: np.ndarray, multipliers: np.ndarray, penalty: float
) -> np.ndarray:
    """Return |max(V_c - limit, -lambda / tau)|, (m,), which is 0 where lambda no longer changes."""
    return np.abs(np.maximum(evaluation.costs - limits, -multipliers / penalty))
