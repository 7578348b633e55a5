"""Log-linear PPO-Lag: gradient ascent on the clipped surrogate in the parameters."""

from __future__ import annotations

import numpy as np

from agents.tabular.clip_surrogate import check_clip, clip_surrogate_gradient
from agents.tabular.log_linear import LogLinearPolicies
from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.own_units import UnitsName
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_count, check_positive
from safe_envs.tabular.model import TabularCMDP


def lin_ppo_lag(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    features: np.ndarray | str = "tile_coding",
    step_size: float = 0.1,
    dual_step_size: float = 1.0,
    clip: float = 0.1,
    gradient_steps: int = 10,
    multiplier_cap: float = 10.0,
    initial_parameters: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of PPO-Lag over policies pi(a | s) ~ exp(<theta, phi(s, a)>).

    As `ppo_lag`: the multipliers move first, then theta takes `gradient_steps` steps of size
    alpha up the clipped surrogate, whose gradient is that in the logits times the features. With
    `features="one_hot"` it is `ppo_lag` itself.

    Source: as `ppo_lag`; the log-linear form is the baseline of arXiv 2605.11694.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        features: (S, A, d) table, "tile_coding" (needs `cmdp.coordinates`) or "one_hot".
        step_size: alpha, in units of 1 / r; the one of 0.1, 1, 10 with the smallest tail error on
            both grid worlds with tile coding, which sets 4 entries where `ppo_lag` has one.
        dual_step_size: eta_l, in units of r / c^2; default as in `ppo_lag`.
        clip: eps, in (0, 1); default as in `ppo_lag`.
        gradient_steps: steps on one surrogate; default as in `ppo_lag`.
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
    check_clip(clip)
    check_count(gradient_steps=gradient_steps)
    record = TraceRecorder(cmdp, evaluations, units, multiplier_cap)
    cmdp = record.cmdp  # the same problem in these units
    policies = LogLinearPolicies(cmdp, features)
    parameters = policies.starting_parameters(initial_parameters)
    multipliers = np.zeros(cmdp.num_constraints)
    while record.open:
        log_policy = policies.log_policy(parameters)
        policy = np.exp(log_policy)
        evaluation = record.evaluate(policy, multipliers)
        violation = evaluation.costs - cmdp.limits
        multipliers = multiplier_step(multipliers, violation, dual_step_size, multiplier_cap)
        advantages = evaluation.priced_advantage(multipliers)
        weights, old = evaluation.state_occupancy, log_policy
        for _ in range(gradient_steps):
            gradient = clip_surrogate_gradient(log_policy, old, weights, advantages, clip)
            parameters = parameters + step_size * policies.pull_back(gradient)
            log_policy = policies.log_policy(parameters)
    return record.trace(policy)
