"""PPQA-ALM: projected Q-ascent on the augmented Lagrangian, projected onto log-linear policies.

Source: "Augmented Lagrangian Method for Last-Iterate Convergence for Constrained MDPs"
(arXiv 2605.11694), algorithm 1 with the inner step of algorithm 4.
"""

from __future__ import annotations

import numpy as np

from agents.tabular.augmented_lagrangian import constraint_prices
from agents.tabular.log_linear import LogLinearPolicies
from agents.tabular.own_units import UnitsName
from agents.tabular.simplex import project_rows_to_simplex
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_count, check_positive
from safe_envs.tabular.model import TabularCMDP


def ppqa_alm(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    features: np.ndarray | str = "tile_coding",
    step_size: float = 1.0,
    penalty: float = 10.0,
    primal_steps: int = 20,
    projection_steps: int = 50,
    initial_parameters: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of PPQA-ALM over policies pi(a | s) ~ exp(<theta, phi(s, a)>).

    With prices w = max(0, lambda + tau (V_c - limit)) of the current policy, one primal step is
    the tabular one (eq. 54a) followed by gradient steps toward its nearest log-linear policy
    (eq. 54b and 56, step size 1 / max |phi|^2, d the normalized state occupancy):

        target = Proj_simplex(pi + eta Q_{r - w . c}(s, .)),
        theta <- argmin_theta sum_s d(s) KL(target(. | s) || pi_theta(. | s)), from theta.

    Dual step after every `primal_steps` of them (eq. 4): lambda <- w. It uses the evaluation of
    the next primal step, so it costs none.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        features: (S, A, d) table, "tile_coding" (needs `cmdp.coordinates`) or "one_hot".
        step_size: eta, in units of 1 / r; of eta 0.1, 1, 10 and tau 0.1, 1, 10, 100, only eta 1
            with tau 10 works on both grid worlds.
        penalty: tau, in units of r / c^2; found in the same way.
        primal_steps: primal steps per dual step; found in the same way.
        projection_steps: gradient steps of one projection; fewer leave a larger error.
        initial_parameters: (d,) start; zeros, the uniform policy, if None.
        units: "own" takes r and c from the problem, see `own_units`; "given" sets them to 1.

    Raises:
        ValueError: if an argument is out of range or no policy meets the limits; the error says
            which.

    Warns:
        MultiplierGrowthWarning: if the multipliers grew and the violation did not fall.
    """
    check_positive(step_size=step_size, penalty=penalty)
    check_count(primal_steps=primal_steps, projection_steps=projection_steps)
    record = TraceRecorder(cmdp, evaluations, units)
    cmdp = record.cmdp  # the same problem in these units
    policies = LogLinearPolicies(cmdp, features)
    parameters = policies.starting_parameters(initial_parameters)
    multipliers = np.zeros(cmdp.num_constraints)
    while record.open:
        policy = np.exp(policies.log_policy(parameters))
        evaluation = cmdp.evaluate(policy)
        prices = constraint_prices(evaluation.costs, cmdp.limits, multipliers, penalty)
        if record.used and record.used % primal_steps == 0:
            multipliers = prices
            prices = constraint_prices(evaluation.costs, cmdp.limits, multipliers, penalty)
        record.write(evaluation, multipliers)
        target = project_rows_to_simplex(policy + step_size * evaluation.priced_q(prices))
        weights = (1.0 - cmdp.discount) * evaluation.state_occupancy
        parameters = policies.project(parameters, target, weights, projection_steps)
    return record.trace(policy)
