"""Fitted Q iteration with the maximum over the next action, which may diverge.

    y_i = r_i + gamma max_d Q_theta(s'_i, u_ref(s'_i) + d)                         (11)
    theta = argmin (1/N) sum_i (theta'phi_i - y_i)^2 + ridge |theta|^2             (12)

Source: Lin and Xu, "Curvature-Guided Safety Filters" (arXiv 2602.12603). The maximum is taken by
enumeration over the deviations d from {-0.3, 0, 0.3} of each thrust; the bound is our choice.
"""

from __future__ import annotations

import itertools

import numpy as np

from safe_envs.quadrotor.filtered.value_features import (
    BASIS,
    DEVIATION_WIDTH,
    ERRORS,
    ROTORS,
    ActionValueFeatures,
    quad,
)

LARGEST_DEVIATION = 0.3
CANDIDATES = LARGEST_DEVIATION * np.array(list(itertools.product((0.0, -1.0, 1.0), repeat=ROTORS)))
SWEEPS = 5000  # enough for the discount 0.99 to shrink a change 1e21-fold
TOLERANCE = 1e-9  # relative to the largest coefficient
LARGEST_GROWTH = 1e6  # of the largest coefficient since the first sweep, where gamma = 0


def best_deviations(
    features: ActionValueFeatures,
    now: np.ndarray,
    feature_scales: np.ndarray,
    following: np.ndarray,
    rewards: np.ndarray,
    discount: float,
    ridge: float,
) -> np.ndarray:
    """Return the deviations d, (N, 4), that are best in the next states once Q has converged.

    Args:
        features: phi.
        now: phi / feature_scales of states and actions, (N, features).
        feature_scales: divisors of phi, (features,).
        following: e of the next states, (N, 12).
        rewards: (N,).
        discount: gamma.
        ridge: weight of |theta|^2.

    Raises:
        ArithmeticError: if the iteration diverges or does not converge.
    """
    gram = now.T @ now / len(now) + ridge * np.eye(now.shape[1])
    fit = np.linalg.solve(gram, now.T / len(now))
    at_reference = features(following, np.zeros((len(following), ROTORS)))
    factors = _candidate_factors(features)
    theta = fit @ rewards
    largest = LARGEST_GROWTH * np.abs(theta).max()
    for sweep in range(1, SWEEPS + 1):
        values = _by_factor(features, at_reference, theta / feature_scales) @ factors
        before, theta = theta, fit @ (rewards + discount * values.max(axis=1))
        size = np.abs(theta).max()
        if not size <= largest:
            raise ArithmeticError(
                f"the target 'max' diverged: in sweep {sweep} the largest coefficient is "
                f"{size:.1e}, above {LARGEST_GROWTH:.0e} times that of sweep 0; pass "
                "target='controller', a smaller discount or flights with more noise"
            )
        if np.abs(theta - before).max() <= TOLERANCE * size:
            return CANDIDATES[values.argmax(axis=1)]
    raise ArithmeticError(
        f"the target 'max' did not converge within {SWEEPS} sweeps, its largest coefficient is "
        f"{size:.1e}; pass target='controller', a smaller discount or flights with more noise"
    )


def _candidate_factors(features: ActionValueFeatures) -> np.ndarray:
    """Return Q's factors in d: 1, d, quad(d) and the Gaussians' ratios, (15 + G, C).

    A Gaussian's ratio to its value at d = 0 is exp((2 d'c_d - |d|^2) / (2 s_d^2)).
    """
    squares = 0.5 * (CANDIDATES * CANDIDATES).sum(axis=1)[:, None]
    exponents = (CANDIDATES @ features.deviation_centres.T - squares) / DEVIATION_WIDTH**2
    ones = np.ones((len(CANDIDATES), 1))
    return np.concatenate([ones, CANDIDATES, quad(CANDIDATES), np.exp(exponents)], axis=1).T


def _by_factor(
    features: ActionValueFeatures, at_reference: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """Return Q's coefficients of these factors, (N, 15 + G), from phi at d = 0, (N, features)."""
    bent, bumps = features.curvature, slice(features.curvature.stop, None)
    fixed = bent.start - (1 + ERRORS) * ROTORS
    affine = at_reference[:, : 1 + ERRORS]  # phi0 begins with (1, e)
    slopes = coefficients[fixed : bent.start].reshape(-1, ROTORS)
    bends = coefficients[bent].reshape(-1, len(BASIS))
    blocks = (
        (at_reference[:, :fixed] @ coefficients[:fixed])[:, None],
        affine @ slopes,
        affine[:, : len(bends)] @ bends,
        at_reference[:, bumps] * coefficients[bumps],
    )
    return np.concatenate(blocks, axis=1)
