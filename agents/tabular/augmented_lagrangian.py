"""The augmented Lagrangian of a tabular CMDP and its exact change between two policies.

Cost form of equation (2) of arXiv 2605.11694 (the paper states V_c >= b; here V_c <= limit):

    L_tau(pi, lambda) = V_r(pi) - 1/(2 tau) sum_i (w_i(pi)^2 - lambda_i^2),
    w_i(pi)           = max(0, lambda_i + tau (V_{c_i}(pi) - limit_i)).
"""

from __future__ import annotations

import numpy as np

from safe_envs.tabular.model import PolicyEvaluation


def constraint_prices(
    costs: np.ndarray, limits: np.ndarray, multipliers: np.ndarray, penalty: float
) -> np.ndarray:
    """Return w = max(0, lambda + tau (V_c - limit)), shape (m,).

    The price of each constraint in the pseudo-reward r - w . c (equation 6), and also the next
    multiplier (equation 4, the slack variable eliminated).
    """
    return np.maximum(0.0, multipliers + penalty * (costs - limits))


def augmented_lagrangian(
    evaluation: PolicyEvaluation, limits: np.ndarray, multipliers: np.ndarray, penalty: float
) -> float:
    """Return L_tau(pi, lambda) of an evaluated policy."""
    prices = constraint_prices(evaluation.costs, limits, multipliers, penalty)
    return evaluation.value - float(((prices**2 - multipliers**2) / (2.0 * penalty)).sum())


def augmented_lagrangian_gain(
    before: PolicyEvaluation,
    after: PolicyEvaluation,
    move: np.ndarray,
    limits: np.ndarray,
    multipliers: np.ndarray,
    penalty: float,
) -> float:
    """Return L_tau(pi', lambda) - L_tau(pi, lambda) for move = pi' - pi of shape (S, A).

    The difference of two evaluations loses all digits once it falls below 1e-16 |L|, which is
    when |pi' - pi| is about 1e-8. The performance difference lemma (Kakade and Langford 2002)
    gives the same number without that cancellation:

        V_f(pi') - V_f(pi) = sum_s mu'(s) sum_a (pi' - pi)(a | s) (Q_f - V_f)(s, a),
        gain = [change of V_r - w . V_c] - 1/2 sum_i (w'_i - w_i) (V_{c_i}(pi') - V_{c_i}(pi)),

    the second line where both prices are positive; its bracket uses the priced advantage, so the
    reward and the costs cancel action by action. The rounding error is then proportional to the
    move, so that iterates can be compared down to machine precision.
    """
    visited = (after.state_occupancy[:, None] * move).ravel()  # (S * A,)
    advantages = (before.q - before.state_values[:, None, :]).reshape(visited.size, -1)
    shifted = (multipliers + penalty * (before.costs - limits)).tolist()
    exchange = np.array([1.0, *(-max(0.0, s) for s in shifted)])
    gain = float(visited @ (advantages @ exchange))  # of V_r - w . V_c at the prices before
    cost_changes = (visited @ advantages).tolist()[1:]
    for s, cost_change in zip(shifted, cost_changes, strict=True):
        s_after = s + penalty * cost_change
        if s > 0.0 and s_after > 0.0:
            gain -= 0.5 * penalty * cost_change * cost_change
        else:  # a price starts or ends at zero
            price, price_after = max(0.0, s), max(0.0, s_after)
            gain -= (price_after**2 - price**2) / (2.0 * penalty) - price * cost_change
    return gain
