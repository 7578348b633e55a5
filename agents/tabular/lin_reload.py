"""Log-linear ReLOAD: optimistic natural gradient in the parameters and the multipliers."""

from __future__ import annotations

import numpy as np

from agents.tabular.log_linear import LogLinearPolicies
from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.own_units import UnitsName
from agents.tabular.softmax_policy import advantage
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_positive
from safe_envs.tabular.model import TabularCMDP


def lin_reload(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    features: np.ndarray | str = "tile_coding",
    step_size: float = 1.0,
    dual_step_size: float = 1.0,
    multiplier_cap: float = 10.0,
    initial_parameters: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of ReLOAD over policies pi(a | s) ~ exp(<theta, phi(s, a)>).

    With w_t the natural gradient of V_r - lambda_t . V_c at theta_t (the regression of
    `lin_npg_pd`) and g_t = V_c(pi_t) - limit, and w_{-1} = w_0, g_{-1} = g_0:

        theta_{t+1}  = theta_t + eta (2 w_t - w_{t-1}),
        lambda_{t+1} = clip(lambda_t + eta_l (2 g_t - g_{t-1}), 0, U).

    Source: Moskovitz et al., "ReLOAD" (ICML 2023); the log-linear form is the baseline of
    arXiv 2605.11694.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        features: (S, A, d) table, "tile_coding" (needs `cmdp.coordinates`) or "one_hot".
        step_size: eta, in units of 1 / r; default as in `reload_pd`.
        dual_step_size: eta_l, in units of r / c^2; default as in `reload_pd`.
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
    record = TraceRecorder(cmdp, evaluations, units, multiplier_cap)
    cmdp = record.cmdp  # the same problem in these units
    policies = LogLinearPolicies(cmdp, features)
    parameters = policies.starting_parameters(initial_parameters)
    multipliers = np.zeros(cmdp.num_constraints)
    previous: tuple[np.ndarray, np.ndarray] | None = None
    while record.open:
        policy = np.exp(policies.log_policy(parameters))
        evaluation = record.evaluate(policy, multipliers)
        advantages = advantage(policy, evaluation.priced_q(multipliers))
        direction = policies.natural_direction(policy, evaluation.state_occupancy, advantages)
        violation = evaluation.costs - cmdp.limits
        last_direction, last_violation = previous or (direction, violation)
        parameters = parameters + step_size * (2.0 * direction - last_direction)
        optimistic = 2.0 * violation - last_violation
        multipliers = multiplier_step(multipliers, optimistic, dual_step_size, multiplier_cap)
        previous = direction, violation
    return record.trace(policy)
