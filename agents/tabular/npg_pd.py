"""NPG-PD: natural policy gradient in the policy, projected gradient in the multipliers."""

from __future__ import annotations

import numpy as np

from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.own_units import UnitsName
from agents.tabular.softmax_policy import log_softmax, starting_log_policy
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_positive
from safe_envs.tabular.model import TabularCMDP


def npg_pd(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    step_size: float = 0.1,
    dual_step_size: float = 0.1,
    multiplier_cap: float = 10.0,
    initial_policy: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of NPG-PD on an exactly known CMDP.

    Both updates use the same evaluation of (pi_t, lambda_t):

        pi_{t+1}     ~ pi_t exp(eta / (1 - discount) Q_{r - lambda_t . c}),
        lambda_{t+1} = clip(lambda_t + eta_l (V_c(pi_t) - limit), 0, U).

    Source: Ding, Zhang, Basar and Jovanovic, "Natural policy gradient primal-dual method for
    constrained Markov decision processes" (NeurIPS 2020), softmax parametrization. The average of
    its iterates converges; the last iterate keeps circling the optimum.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_size: eta, in units of 1 / r; the default is the middle of the grid 1e-3, 1e-2, ...,
            10.
        dual_step_size: eta_l, in units of r / c^2; the default is the middle of the same grid.
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
    rate = step_size / (1.0 - cmdp.discount)
    while record.open:
        policy = np.exp(log_policy)
        evaluation = record.evaluate(policy, multipliers)
        log_policy = log_softmax(log_policy + rate * evaluation.priced_q(multipliers))
        violation = evaluation.costs - cmdp.limits
        multipliers = multiplier_step(multipliers, violation, dual_step_size, multiplier_cap)
    return record.trace(policy)
