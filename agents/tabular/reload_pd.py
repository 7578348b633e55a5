"""ReLOAD: optimistic mirror descent-ascent, a last iterate that converges."""

from __future__ import annotations

import numpy as np

from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.softmax_policy import log_softmax, starting_log_policy
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_positive
from safe_envs.tabular.model import TabularCMDP


def reload_pd(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    step_size: float = 1.0,
    dual_step_size: float = 1.0,
    multiplier_cap: float = 10.0,
    initial_policy: np.ndarray | None = None,
) -> SolverTrace:
    """Return the trace of ReLOAD on an exactly known CMDP.

    With Q_t = Q of r - lambda_t . c and g_t = V_c - limit under pi_t, both players step along
    the extrapolated gradient (and Q_{-1} = Q_0, g_{-1} = g_0):

        pi_{t+1}     ~ pi_t exp(eta (2 Q_t - Q_{t-1})),
        lambda_{t+1} = clip(lambda_t + eta_l (2 g_t - g_{t-1}), 0, U).

    Source: Moskovitz, O'Donoghue, Veeriah, Flennerhag, Singh and Zahavy, "ReLOAD: reinforcement
    learning with optimistic ascent-descent for last-iterate convergence in constrained MDPs"
    (ICML 2023).

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_size: eta; of the grid 1e-3, 1e-2, ..., 10 the default converges on both grid worlds.
        dual_step_size: eta_l; found in the same way.
        multiplier_cap: U, must exceed the optimal multipliers.
        initial_policy: (S, A) start with entries > 0; uniform if None.

    Raises:
        ValueError: if an argument is out of range or no policy meets the limits; the error says
            which.
    """
    check_positive(
        step_size=step_size, dual_step_size=dual_step_size, multiplier_cap=multiplier_cap
    )
    log_policy = starting_log_policy(cmdp, initial_policy)
    multipliers = np.zeros(cmdp.num_constraints)
    previous: tuple[np.ndarray, np.ndarray] | None = None
    record = TraceRecorder(cmdp, evaluations)
    while record.open:
        policy = np.exp(log_policy)
        evaluation = record.evaluate(policy, multipliers)
        q, violation = evaluation.priced_q(multipliers), evaluation.costs - cmdp.limits
        last_q, last_violation = previous or (q, violation)
        log_policy = log_softmax(log_policy + step_size * (2.0 * q - last_q))
        optimistic = 2.0 * violation - last_violation
        multipliers = multiplier_step(multipliers, optimistic, dual_step_size, multiplier_cap)
        previous = q, violation
    return record.trace(policy)
