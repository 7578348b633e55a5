"""RPG-PD: policy gradient primal-dual on an entropy-regularized Lagrangian."""

from __future__ import annotations

import numpy as np

from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.own_units import UnitsName
from agents.tabular.softmax_policy import (
    check_share,
    log_softmax,
    regularized_q,
    starting_log_policy,
)
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_positive
from safe_envs.tabular.model import TabularCMDP


def rpg_pd(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    step_size: float = 0.1,
    dual_step_size: float = 0.1,
    entropy_coefficient: float = 1e-2,
    multiplier_cap: float = 10.0,
    initial_policy: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of RPG-PD on an exactly known CMDP.

    Mirror descent-ascent on V_r - lambda . (V_c - limit) + tau_e H(pi) + (tau_e / 2) |lambda|^2,
    H being the discounted entropy. Both updates use the same evaluation:

        pi_{t+1}     ~ pi_t exp(eta Q_{r - lambda_t . c - tau_e log pi_t}),
        lambda_{t+1} = clip((1 - eta_l tau_e) lambda_t + eta_l (V_c(pi_t) - limit), 0, U).

    At its fixed point V_c - limit = tau_e lambda: the last iterate converges, but to a point that
    violates every active constraint by that much (in own units).

    Source: Ding, Wei, Zhang and Ribeiro, "Last-iterate convergent policy gradient primal-dual
    methods for constrained MDPs" (NeurIPS 2023), method RPG-PD.

    Differs from the paper: the multipliers have a step size of their own, and the policy is not
    kept above eps_0 / A; it is stored as its logarithm, which cannot round to zero.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_size: eta, in units of 1 / r; the default is the middle of the grid 0.01, 0.1, 1.
        dual_step_size: eta_l, in units of r / c^2; the default is the middle of the same grid.
        entropy_coefficient: tau_e, in units of r for the entropy and of c^2 / r for |lambda|^2;
            the default is the middle of the grid 1e-3, 1e-2, 1e-1.
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
        step_size=step_size,
        dual_step_size=dual_step_size,
        entropy_coefficient=entropy_coefficient,
        multiplier_cap=multiplier_cap,
    )
    check_share("step_size * entropy_coefficient", step_size * entropy_coefficient)
    check_share("dual_step_size * entropy_coefficient", dual_step_size * entropy_coefficient)
    record = TraceRecorder(cmdp, evaluations, units, multiplier_cap)
    cmdp = record.cmdp  # the same problem in these units
    log_policy = starting_log_policy(cmdp, initial_policy)
    multipliers = np.zeros(cmdp.num_constraints)
    while record.open:
        policy = np.exp(log_policy)
        evaluation = record.evaluate(policy, multipliers, -log_policy)
        q = regularized_q(evaluation, multipliers, entropy_coefficient)
        log_policy = log_softmax(log_policy + step_size * q)
        multipliers = multiplier_step(
            multipliers,
            evaluation.costs - cmdp.limits,
            dual_step_size,
            multiplier_cap,
            decay=entropy_coefficient,
        )
    return record.trace(policy)
