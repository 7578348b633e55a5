"""PQA-ALM: projected Q-ascent on the augmented Lagrangian; its last iterate converges.

Source: "Augmented Lagrangian Method for Last-Iterate Convergence for Constrained MDPs"
(arXiv 2605.11694), algorithm 1 with the inner step of equation 7.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from agents.tabular.augmented_lagrangian import augmented_lagrangian_gain, constraint_prices
from agents.tabular.simplex import project_rows_to_simplex
from agents.tabular.solver_trace import (
    SolverTrace,
    TraceRecorder,
    check_positive,
    starting_policy,
)
from safe_envs.tabular_model import TabularCMDP

SMALLEST_MOVE = 1e-14  # a policy change below this is rounding: it is taken without a test
LARGEST_STEP = 1e4


def pqa_alm(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    step_rule: Literal["monotone", "fixed"] = "monotone",
    step_size: float = 1.0,
    penalty: float = 3.0,
    primal_steps: int = 20,
    initial_policy: np.ndarray | None = None,
) -> SolverTrace:
    """Return the trace of PQA-ALM on an exactly known CMDP.

    Primal step, for every state (eq. 7), with prices w of the current policy (eq. 6):

        pi <- Proj_simplex(pi + eta Q_{r - w . c}(s, .)),  w = max(0, lambda + tau (V_c - limit)).

    Dual step after every `primal_steps` of them (eq. 4): lambda <- w.

    Differs from the paper: the default `step_rule="monotone"` keeps a step only if it does not
    lower the augmented Lagrangian, then grows eta by 1.25, and halves eta otherwise. A fixed eta
    suits one problem and limit-cycles on the next; the monotone rule needs no search. Every
    trial, kept or not, counts as one evaluation. `step_rule="fixed"` is the paper's method; its
    setting for the two grid worlds is step_size=1, penalty=10, primal_steps=20.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_rule: "monotone" or "fixed".
        step_size: eta, the first one if the rule is monotone.
        penalty: tau.
        primal_steps: kept primal steps per dual step.
        initial_policy: (S, A) start; uniform if None.

    Raises:
        ValueError: for an argument out of its range, saying which.
    """
    check_positive(step_size=step_size, penalty=penalty, primal_steps=primal_steps)
    policy = starting_policy(cmdp, initial_policy)
    record = TraceRecorder(cmdp, evaluations)
    if step_rule == "monotone":
        return _monotone(cmdp, record, policy, step_size, penalty, primal_steps)
    if step_rule == "fixed":
        return _fixed(cmdp, record, policy, step_size, penalty, primal_steps)
    raise ValueError(f"step_rule is {step_rule!r}; pass 'monotone' or 'fixed'")


def _fixed(
    cmdp: TabularCMDP,
    record: TraceRecorder,
    policy: np.ndarray,
    step_size: float,
    penalty: float,
    primal_steps: int,
) -> SolverTrace:
    multipliers = np.zeros(cmdp.num_constraints)
    next_policy = policy
    while record.open:
        policy = next_policy
        evaluation = cmdp.evaluate(policy)
        prices = constraint_prices(evaluation.costs, cmdp.limits, multipliers, penalty)
        if record.used and record.used % primal_steps == 0:
            multipliers = prices
            prices = constraint_prices(evaluation.costs, cmdp.limits, multipliers, penalty)
        record.write(evaluation, multipliers)
        next_policy = project_rows_to_simplex(policy + step_size * evaluation.priced_q(prices))
    return record.trace(policy)


def _monotone(
    cmdp: TabularCMDP,
    record: TraceRecorder,
    policy: np.ndarray,
    step_size: float,
    penalty: float,
    primal_steps: int,
) -> SolverTrace:
    multipliers = np.zeros(cmdp.num_constraints)
    current = record.evaluate(policy, multipliers)
    kept = 0
    while record.open:
        prices = constraint_prices(current.costs, cmdp.limits, multipliers, penalty)
        trial_policy = project_rows_to_simplex(policy + step_size * current.priced_q(prices))
        trial = cmdp.evaluate(trial_policy)
        move = trial_policy - policy
        rounding_only = np.abs(move).max() < SMALLEST_MOVE
        if rounding_only or 0.0 <= augmented_lagrangian_gain(
            current, trial, move, cmdp.limits, multipliers, penalty
        ):
            policy, current = trial_policy, trial
            kept += 1
            step_size = step_size if rounding_only else min(1.25 * step_size, LARGEST_STEP)
            if kept % primal_steps == 0:
                multipliers = constraint_prices(
                    current.costs, cmdp.limits, multipliers, penalty
                )
        else:
            step_size = 0.5 * step_size
        record.write(current, multipliers)
    return record.trace(policy)
