"""Generalised advantage estimation for a reward and any number of costs at once."""

from __future__ import annotations

import numpy as np


def generalized_advantages(
    signals: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    ended: np.ndarray,
    discounts: np.ndarray,
    lambdas: np.ndarray,
) -> np.ndarray:
    """Return the advantage estimates of k signals, shape (steps, envs, k).

    A_t = sum_{l >= 0} (gamma lambda)^l delta_{t+l},  delta_t = r_t + gamma V(s'_t) - V(s_t),
    where the sum stops at the end of the episode or of the rollout. Source: Schulman et al.
    (2016), "High-dimensional continuous control using generalized advantage estimation",
    equation 16.

    Args:
        signals: reward and costs of each step, (steps, envs, k).
        values: V(s_t), (steps, envs, k).
        next_values: V of the state the step really led to, (steps, envs, k): 0 where the episode
            terminated, the value of its last observation where it was truncated.
        ended: whether the step was the last of its episode, (steps, envs) bool.
        discounts: gamma of each signal, (k,).
        lambdas: lambda of each signal, (k,).
    """
    deltas = signals + discounts * next_values - values
    carry = (discounts * lambdas) * ~ended[..., None]
    advantages = np.empty_like(deltas)
    running = np.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        running = deltas[t] + carry[t] * running
        advantages[t] = running
    return advantages
