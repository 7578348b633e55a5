"""PPQA-ALM: projected Q-ascent on the augmented Lagrangian, projected onto log-linear policies.

Source: "Augmented Lagrangian Method for Last-Iterate Convergence for Constrained MDPs"
(arXiv 2605.11694), algorithm 1 with the inner step of algorithm 4.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from agents.tabular.augmented_lagrangian import constraint_prices
from agents.tabular.linear_program import least_cost
from agents.tabular.log_linear import LogLinearPolicies
from agents.tabular.simplex import project_rows_to_simplex
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_count, check_positive
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP

DUAL_STEPS_IN_A_ROW = 5  # of an alarm


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
) -> SolverTrace:
    """Return the trace of PPQA-ALM over policies pi(a | s) ~ exp(<theta, phi(s, a)>).

    With prices w = max(0, lambda + tau (V_c - limit)) of the current policy, one primal step is
    the tabular one (eq. 54a) followed by gradient steps toward its nearest log-linear policy
    (eq. 54b and 56, step size 1 / max |phi|^2, d the normalized state occupancy):

        target = Proj_simplex(pi + eta Q_{r - w . c}(s, .)),
        theta <- argmin_theta sum_s d(s) KL(target(. | s) || pi_theta(. | s)), from theta.

    Dual step after every `primal_steps` of them (eq. 4): lambda <- w. It uses the evaluation of
    the next primal step, so it costs none.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        features: (S, A, d) table, "tile_coding" (needs `cmdp.coordinates`) or "one_hot".
        step_size: eta; of eta 0.1, 1, 10 and tau 0.1, 1, 10, 100, only eta 1 with tau 10 works on
            both grid worlds.
        penalty: tau; found in the same way.
        primal_steps: primal steps per dual step; found in the same way.
        projection_steps: gradient steps of one projection; fewer leave a larger error.
        initial_parameters: (d,) start; zeros, the uniform policy, if None.

    Raises:
        ValueError: if an argument is out of range or no policy meets the limits; the error says
            which.

    Warns:
        MultiplierGrowthWarning: if the multipliers grow while the violation does not fall.
    """
    check_positive(step_size=step_size, penalty=penalty)
    check_count(primal_steps=primal_steps, projection_steps=projection_steps)
    policies = LogLinearPolicies(cmdp, features)
    parameters = policies.starting_parameters(initial_parameters)
    multipliers = np.zeros(cmdp.num_constraints)
    alarm = StallAlarm(cmdp)
    record = TraceRecorder(cmdp, evaluations)
    while record.open:
        policy = np.exp(policies.log_policy(parameters))
        evaluation = cmdp.evaluate(policy)
        prices = constraint_prices(evaluation.costs, cmdp.limits, multipliers, penalty)
        if record.used and record.used % primal_steps == 0:
            alarm.watch(evaluation, multipliers)
            multipliers = prices
            prices = constraint_prices(evaluation.costs, cmdp.limits, multipliers, penalty)
        record.write(evaluation, multipliers)
        target = project_rows_to_simplex(policy + step_size * evaluation.priced_q(prices))
        weights = (1.0 - cmdp.discount) * evaluation.state_occupancy
        parameters = policies.project(parameters, target, weights, projection_steps)
    return record.trace(policy)


class MultiplierGrowthWarning(RuntimeWarning):
    """The multipliers grow but the violation does not fall: the primal step has stalled."""


class StallAlarm:
    """Warns once if a solver does worse at its inner problem than every feasible policy.

    A policy that meets the limits has V_r - lambda . (V_c - limit) >= V_r >= min V_r. A current
    policy below that bound,

        V_r - lambda . (V_c - limit) < min V_r,

    therefore has not solved its inner problem, or the policy class holds no feasible policy.
    The warning comes if this holds after five dual steps in a row in which the violation did not
    fall by a tenth. By itself it also happens in healthy runs whose multiplier has overshot.
    """

    def __init__(self, cmdp: TabularCMDP) -> None:
        self.cmdp = cmdp
        self._least_value: float | None = None
        self._streak = 0  # dual steps in a row without the violation falling
        self._first_violation = np.inf  # at the start of the streak
        self._warned = False

    def watch(self, evaluation: PolicyEvaluation, multipliers: np.ndarray) -> None:
        """Check the policy reached under fixed multipliers; call before a dual step."""
        violation = evaluation.costs - self.cmdp.limits
        priced, worst = float(multipliers @ violation), float(violation.max(initial=-np.inf))
        if self._warned or priced <= 0.0:
            self._streak = 0
            return
        if self._streak == 0 or worst < 0.9 * self._first_violation:
            self._streak, self._first_violation = 0, worst
        self._streak += 1
        stalled = self._streak >= DUAL_STEPS_IN_A_ROW
        if stalled and evaluation.value - priced < self._smallest_value():
            self._warned = True
            warnings.warn(
                f"the multipliers have grown to {np.round(multipliers, 3).tolist()} and the "
                f"violation stays at {worst:.3g}: every feasible policy would do better, so the "
                "steps have stalled or the features hold no feasible policy; lower step_size or "
                "penalty, or pass features that distinguish more states",
                MultiplierGrowthWarning,
                stacklevel=3,
            )

    def _smallest_value(self) -> float:
        if self._least_value is None:
            reward_as_cost = replace(
                self.cmdp,
                costs=self.cmdp.reward[None],
                limits=np.zeros(1),
                constraint_names=(),
            )
            self._least_value = least_cost(reward_as_cost)
        return self._least_value
