"""Log-linear NPG-PD and, with an entropy coefficient above zero, log-linear RPG-PD."""

from __future__ import annotations

import numpy as np

from agents.tabular.log_linear import LogLinearPolicies
from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.own_units import UnitsName
from agents.tabular.softmax_policy import advantage, check_share, regularized_q
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_not_negative, check_positive
from safe_envs.tabular.model import TabularCMDP


def lin_npg_pd(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    features: np.ndarray | str = "tile_coding",
    step_size: float = 0.1,
    dual_step_size: float = 0.1,
    entropy_coefficient: float = 0.0,
    multiplier_cap: float = 10.0,
    initial_parameters: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of NPG-PD over policies pi(a | s) ~ exp(<theta, phi(s, a)>).

    The step direction w_t is the least-norm minimizer of the compatible regression

        sum_s d(s) sum_a pi(a | s) (<w, phi(s, a) - E_pi phi(s, .)> - A_t(s, a))^2,

    A_t being the advantage of r - lambda_t . c - tau_e log pi_t. Then, at once,

        theta_{t+1}  = theta_t + eta w_t,
        lambda_{t+1} = clip((1 - eta_l tau_e) lambda_t + eta_l (V_c(pi_t) - limit), 0, U).

    Source: Ding, Zhang, Basar and Jovanovic (NeurIPS 2020), section on function approximation;
    with tau_e > 0 the regularized method of Ding, Wei, Zhang and Ribeiro (NeurIPS 2023).

    Differs from the paper: exact values and an exact regression instead of sampled ones; eta is
    not divided by 1 - discount.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        features: (S, A, d) table, "tile_coding" (needs `cmdp.coordinates`) or "one_hot".
        step_size: eta, in units of 1 / r; default as in `npg_pd`.
        dual_step_size: eta_l, in units of r / c^2; default as in `npg_pd`.
        entropy_coefficient: tau_e, in the units of `rpg_pd`; 0 is NPG-PD.
        multiplier_cap: U, in units of r / c; must exceed the optimal multipliers.
        initial_parameters: (d,) start; zeros, the uniform policy, if None.
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
    check_not_negative(entropy_coefficient=entropy_coefficient)
    check_share("step_size * entropy_coefficient", step_size * entropy_coefficient)
    check_share("dual_step_size * entropy_coefficient", dual_step_size * entropy_coefficient)
    record = TraceRecorder(cmdp, evaluations, units, multiplier_cap)
    cmdp = record.cmdp  # the same problem in these units
    policies = LogLinearPolicies(cmdp, features)
    parameters = policies.starting_parameters(initial_parameters)
    multipliers = np.zeros(cmdp.num_constraints)
    while record.open:
        log_policy = policies.log_policy(parameters)
        policy = np.exp(log_policy)
        evaluation = record.evaluate(policy, multipliers, -log_policy)
        advantages = advantage(policy, regularized_q(evaluation, multipliers, entropy_coefficient))
        direction = policies.natural_direction(policy, evaluation.state_occupancy, advantages)
        parameters = parameters + step_size * direction
        multipliers = multiplier_step(
            multipliers,
            evaluation.costs - cmdp.limits,
            dual_step_size,
            multiplier_cap,
            decay=entropy_coefficient,
        )
    return record.trace(policy)
