"""The clipped surrogate of PPO as an exact expectation, and its gradient in the logits."""

from __future__ import annotations

import numpy as np


def clip_surrogate(
    log_policy: np.ndarray,
    old_log_policy: np.ndarray,
    state_weights: np.ndarray,
    advantages: np.ndarray,
    clip: float,
) -> float:
    """Return sum_s d(s) sum_a pi_old(a | s) min(ratio A, clip(ratio, 1 - eps, 1 + eps) A).

    ratio = pi(a | s) / pi_old(a | s). Source: Schulman et al., "Proximal policy optimization
    algorithms" (2017), equation 7, as an exact expectation.
    """
    ratio = np.exp(log_policy - old_log_policy)
    clipped = np.clip(ratio, 1.0 - clip, 1.0 + clip)
    terms = np.minimum(ratio * advantages, clipped * advantages)
    return float(state_weights @ (np.exp(old_log_policy) * terms).sum(axis=1))


def clip_surrogate_gradient(
    log_policy: np.ndarray,
    old_log_policy: np.ndarray,
    state_weights: np.ndarray,
    advantages: np.ndarray,
    clip: float,
) -> np.ndarray:
    """Return the gradient of `clip_surrogate` in the logits of the policy, shape (S, A).

    With G = d(s) A(s, a) where the ratio has not passed its bound in the direction of the
    advantage, and 0 elsewhere, it is pi(a | s) (G(s, a) - sum_a' pi(a' | s) G(s, a')).
    """
    log_ratio = log_policy - old_log_policy
    past_bound = np.where(advantages > 0.0, log_ratio > np.log1p(clip), log_ratio < np.log1p(-clip))
    gain = np.where(past_bound, 0.0, state_weights[:, None] * advantages)
    policy = np.exp(log_policy)
    return policy * (gain - (policy * gain).sum(axis=1, keepdims=True))


def check_clip(clip: float) -> None:
    """Raise ValueError if the clip range of a probability ratio is not in (0, 1)."""
    if not 0.0 < clip < 1.0:
        raise ValueError(f"clip is {clip}; pass a number in (0, 1), for example 0.2")
