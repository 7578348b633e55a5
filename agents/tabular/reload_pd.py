"""ReLOAD: optimistic mirror descent-ascent, a last iterate that converges."""

from __future__ import annotations

import numpy as np

from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.own_units import UnitsName
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
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of ReLOAD on an exactly known CMDP.

    With Q_t = Q of r - lambda_t . c and g_t = V_c - limit under pi_t, both players step along
    the extrapolated gradient (and Q_{-1} = Q_0, g_{-1} = g_0):

        pi_{t+1}     ~ pi_t exp(eta (2 Q_t - Q_{t-1})),
        lambda_{t+1} = clip(lambda_t + eta_l (2 g_t - g_{t-1}), 0, U).

    Source: Moskovitz, O'Donoghue, Veeriah, Flennerhag, Singh and Zahavy, "ReLOAD: reinforcement
    learning with optimistic ascent-descent for last-iterate convergence in constrained MDPs"
    (ICML 2023).

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_size: eta, in units of 1 / r; of the grid 1e-3, 1e-2, ..., 10 the default converges
            on both grid worlds.
        dual_step_size: eta_l, in units of r / c^2; found in the same way.
        multiplier_cap: U, in units of r / c; must exceed the optimal multipliers.
        initial_policy: (S, A) start with entries > 0; uniform if None.
        units: "own" takes r and c from the problem, see `own_units`; "given" sets them to 1.

    Raises:
        ValueError: if an argument is out of range or no policy meets the limits; the error says
            which.

    Warns:
        MultiplierCapWarning: if a multiplier stayed at its cap to the end.
        MultiplierGrowthWarning: if the multipliers grew and the violation did not fall.
    """
    check_positive(
        step_size=step_size, dual_step_size=dual_step_size, multiplier_cap=multiplier_cap
    )
    record = TraceRecorder(cmdp, evaluations, units, multiplier_cap)
    cmdp = record.cmdp  # the same problem in these units
    log_policy = starting_log_policy(cmdp, initial_policy)
    multipliers = np.zeros(cmdp.num_constraints)
    previous: tuple[np.ndarray, np.ndarray] | None = None
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
