"""PPO-Lag: gradient ascent in the multipliers with the clipped surrogate of PPO."""

from __future__ import annotations

import numpy as np

from agents.tabular.clip_surrogate import check_clip, clip_surrogate_gradient
from agents.tabular.multiplier_step import multiplier_step
from agents.tabular.own_units import UnitsName
from agents.tabular.softmax_policy import log_softmax, starting_log_policy
from agents.tabular.solver_trace import SolverTrace, TraceRecorder
from safe_envs.contract.argument_checks import check_count, check_positive
from safe_envs.tabular.model import TabularCMDP


def ppo_lag(
    cmdp: TabularCMDP,
    evaluations: int = 10_000,
    *,
    step_size: float = 0.1,
    dual_step_size: float = 1.0,
    clip: float = 0.1,
    gradient_steps: int = 10,
    multiplier_cap: float = 10.0,
    initial_policy: np.ndarray | None = None,
    units: UnitsName = "own",
) -> SolverTrace:
    """Return the trace of PPO-Lag with softmax logits on an exactly known CMDP.

    The multipliers move first, lambda <- clip(lambda + eta_l (V_c - limit), 0, U). Then the
    logits take `gradient_steps` steps of size alpha up the clipped surrogate of the policy just
    evaluated, with A = A_r - lambda . A_c and d its state occupancy (sum 1 / (1 - discount)):

        sum_s d(s) sum_a pi_t(a | s) min(ratio A, clip(ratio, 1 - eps, 1 + eps) A).

    Source: Ray, Achiam and Amodei, "Benchmarking safe exploration in deep reinforcement learning"
    (2019), with the surrogate of Schulman et al. (2017).

    Differs from the paper: exact expectations, plain gradient steps instead of Adam, and the
    surrogate is not divided by 1 + lambda.

    Below, r is the unit of the reward and c that of a cost. They are the problem's own, so that its
    tables may be in any units.

    Args:
        cmdp: the problem, with any number of constraints.
        evaluations: budget of exact policy evaluations.
        step_size: alpha, in units of 1 / r; the one of 0.1, 1, 10 with the smallest tail error on
            grid worlds and random CMDPs.
        dual_step_size: eta_l, in units of r / c^2; the one of 1e-3, ..., 1 with the smallest tail
            error.
        clip: eps, in (0, 1); from the grid 0.1, 0.2, 0.3 of arXiv 2605.11694.
        gradient_steps: steps on one surrogate; arXiv 2605.11694 uses 10 epochs.
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
    check_clip(clip)
    check_count(gradient_steps=gradient_steps)
    record = TraceRecorder(cmdp, evaluations, units, multiplier_cap)
    cmdp = record.cmdp  # the same problem in these units
    log_policy = starting_log_policy(cmdp, initial_policy)
    multipliers = np.zeros(cmdp.num_constraints)
    while record.open:
        policy = np.exp(log_policy)
        evaluation = record.evaluate(policy, multipliers)
        violation = evaluation.costs - cmdp.limits
        multipliers = multiplier_step(multipliers, violation, dual_step_size, multiplier_cap)
        advantages = evaluation.priced_advantage(multipliers)
        state_weights = evaluation.state_occupancy
        old = log_policy
        for _ in range(gradient_steps):
            gradient = clip_surrogate_gradient(log_policy, old, state_weights, advantages, clip)
            log_policy = log_softmax(log_policy + step_size * gradient)
    return record.trace(policy)
