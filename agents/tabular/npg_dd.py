"""NPG-DD: descent on the entropy-regularized dual, the inner problem by natural gradient."""

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
from safe_envs.contract.argument_checks import check_count, check_positive
from safe_envs.tabular.model import TabularCMDP


def npg_dd(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    step_size: float | None = None,
    dual_step_size: float = 0.1,
    entropy_coefficient: float = 1e-2,
    primal_steps: int = 10,
    multiplier_cap: float = 10.0,
    initial_policy: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of NPG-DD on an exactly known CMDP.

    `primal_steps` entropy-regularized natural gradient steps with fixed multipliers,

        pi <- normalize(pi^(1 - eta tau_e / (1 - discount)) exp(eta Q_soft / (1 - discount))),

    then lambda <- clip(lambda + eta_l (V_c(pi) - limit), 0, U), the gradient of the dual. Q_soft
    is Q of r - lambda . c with the bonus tau_e times the entropy of all later states. The largest
    eta, (1 - discount) / tau_e, makes the step soft policy iteration, pi ~ exp(Q_soft / tau_e).
    At its fixed point V_c = limit exactly; the value is off by about tau_e.

    Source: Ying, Ding and Lavaei, "A dual approach to constrained Markov decision processes with
    entropy regularization" (AISTATS 2022).

    Differs from the paper: plain instead of accelerated descent on the dual. The dual step uses
    the evaluation of the next primal step, so it costs none.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_size: eta, in units of 1 / r; None for the largest, soft policy iteration.
        dual_step_size: eta_l, in units of r / c^2; with the default both grid worlds converge,
            slowly; 1.0 is faster on the cliff but never settles on the deep sea.
        entropy_coefficient: tau_e, in units of r; the default is the middle of the grid 1e-3,
            1e-2, 1e-1.
        primal_steps: steps per dual step; from the grid 10, 50.
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
        dual_step_size=dual_step_size,
        entropy_coefficient=entropy_coefficient,
        multiplier_cap=multiplier_cap,
    )
    check_count(primal_steps=primal_steps)
    rate = 1.0 / entropy_coefficient
    if step_size is not None:
        check_positive(step_size=step_size)
        rate = step_size / (1.0 - cmdp.discount)
        check_share("step_size * entropy_coefficient / (1 - discount)", rate * entropy_coefficient)
    record = TraceRecorder(cmdp, evaluations, units, multiplier_cap)
    cmdp = record.cmdp  # the same problem in these units
    log_policy = starting_log_policy(cmdp, initial_policy)
    multipliers = np.zeros(cmdp.num_constraints)
    while record.open:
        policy = np.exp(log_policy)
        evaluation = cmdp.evaluate(policy, -log_policy)
        if record.used and record.used % primal_steps == 0:
            violation = evaluation.costs - cmdp.limits
            multipliers = multiplier_step(multipliers, violation, dual_step_size, multiplier_cap)
        record.write(evaluation, multipliers)
        q = regularized_q(evaluation, multipliers, entropy_coefficient)
        log_policy = log_softmax(log_policy + rate * q)
    return record.trace(policy)
