"""Policies kept as logarithms, so that no probability of a softmax policy rounds to zero."""

from __future__ import annotations

import numpy as np

from agents.tabular.solver_trace import starting_policy
from safe_envs.tabular.model import PolicyEvaluation, TabularCMDP


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log(exp(logits) / sum_a exp(logits)) of every row, shape (S, A)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalizer = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted - normalizer


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return exp(logits) / sum_a exp(logits) of every row, shape (S, A)."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def starting_log_policy(cmdp: TabularCMDP, initial_policy: np.ndarray | None) -> np.ndarray:
    """Return the logarithm of the initial policy; of the uniform policy if it is None.

    Raises:
        ValueError: if it is not a policy, or gives an action probability 0.
    """
    policy = starting_policy(cmdp, initial_policy)
    if (policy == 0.0).any():
        raise ValueError(
            f"initial_policy has {int((policy == 0.0).sum())} entries equal to 0, which a "
            "multiplicative step can never raise; pass probabilities > 0, for example a mixture "
            "with the uniform policy"
        )
    return np.log(policy)


def regularized_q(
    evaluation: PolicyEvaluation, multipliers: np.ndarray, entropy_coefficient: float
) -> np.ndarray:
    """Return Q of r - lambda . c - tau_e log policy, shape (S, A).

    The evaluation has to hold -log policy as its extra signal. The result includes the immediate
    -tau_e log policy(a | s).
    """
    return evaluation.priced_q(multipliers) + entropy_coefficient * evaluation.q_extra


def check_share(product: str, value: float, largest: float = 1.0) -> None:
    """Raise ValueError if a product of step size and coefficient exceeds what is stable."""
    if value > largest * (1.0 + 1e-12):  # rounding of the product is allowed
        raise ValueError(
            f"{product} is {value:.6g}; it must be <= {largest:g}, otherwise the regularized "
            "step overshoots; lower the step size or the coefficient"
        )


def advantage(policy: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return Q(s, a) - sum_a' policy(a' | s) Q(s, a'), shape (S, A)."""
    return q - (policy * q).sum(axis=1, keepdims=True)
