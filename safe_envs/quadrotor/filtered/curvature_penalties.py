"""Penalties that keep a fitted action value concave and its third derivatives small.

    W_q(s) = -sum_ik theta2_ik phi2_i(s) S_k                                       (13)
    R_psd = mean over s of ||(-W_q)_+||_F^2 - beta log det(W_q + eps I)            (14)
    B_j = max over s, |d| <= D of ||grad^3_ddd phi3_j||                            (15)
    L2 = sum_j |theta3_j| B_j,   R_3 = L2^2                                   (16), (17)

Source: Lin and Xu, "Curvature-Guided Safety Filters" (arXiv 2602.12603). The first raises mu, the
smallest eigenvalue of the metric; the second lowers L2, which bounds how fast the metric changes
with the action. The paper's theorem on when the weighted filter is better needs both.
They are added to a fit as

    theta = argmin (theta - theta_0)' H (theta - theta_0) + lambda_p R_psd + lambda_3 R_3

around the solution theta_0 without them. With H = A'G^-1 A, where A theta_0 = b is the linear
system of `fitted_q` and G = (1/N) sum_i phi_i phi_i' + ridge I, the first term is the mean square
projected Bellman error (Sutton et al., "Fast gradient-descent methods", ICML 2009).

Differs from the paper:
- it adds the penalties to the regression on fixed targets (12), where H = G, and repeats that with
  new targets. Here they are weighed against the error of the fixed point: one convex program, with
  no iteration over targets. With discount 0 both are the same;
- below eps the logarithm continues as its tangent, which keeps R_psd convex with a nonzero slope
  where W_q is not positive definite; a constant would have slope 0 there;
- the grid consists of states in the data, at most 2000 of them in R_psd.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from safe_envs.quadrotor.filtered.value_features import (
    BASIS,
    DEVIATION_WIDTH,
    ERROR_WIDTH,
    ActionValueFeatures,
)

BARRIER_WEIGHT = 0.1  # beta; this and the following numbers are our choice
STABILITY = 1e-4  # eps, in the unit of W: reward
RADIUS = 0.3  # D, for deviations of the thrusts: three times the noise of the flights
GRID_STATES = 2000
PEAKS = np.sqrt(3.0 + np.array([-1.0, 1.0]) * np.sqrt(6.0))
"""Where `_steepness` has its two local maxima, 1.3801 at 0.742 and 0.3733 at 2.334."""
MINIMIZER = {"maxiter": 20_000, "maxfun": 40_000, "maxcor": 50, "ftol": 0.0, "gtol": 1e-6}
ACCEPTED_GRADIENT = 1e-3  # at the end, as a fraction of the gradient at the start


class PenaltyWeights(NamedTuple):
    """Weights of the penalties relative to the square of a reward; all >= 0."""

    psd: float = 0.0  # lambda_p
    barrier: float = BARRIER_WEIGHT  # beta, within R_psd
    third: float = 0.0  # lambda_3


def quadratic_weights(curvatures: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return W_q (equation 13), (S, 4, 4).

    Args:
        curvatures: theta2, (P, 10), of the features as they are.
        factors: phi2 in S states, (S, P).
    """
    return -np.tensordot(factors @ curvatures, BASIS, axes=1)


def definiteness_penalty(
    curvatures: np.ndarray, factors: np.ndarray, barrier_weight: float = BARRIER_WEIGHT
) -> tuple[float, np.ndarray]:
    """Return R_psd (equation 14) and its gradient in the curvatures, (P, 10).

    R_psd is the mean of sum_k f(w_k) over the eigenvalues w_k of W_q, with
    f(w) = max(-w, 0)^2 - beta log(w + eps), and convex because f is; its derivative in
    W_q = U diag(w) U' is U diag(f'(w)) U'.

    Args:
        curvatures: theta2, (P, 10), of the features as they are.
        factors: phi2 in S states, (S, P).
        barrier_weight: beta.
    """
    eigenvalues, vectors = np.linalg.eigh(quadratic_weights(curvatures, factors))
    negative = np.maximum(-eigenvalues, 0.0)
    shifted = eigenvalues + STABILITY
    inside = np.maximum(shifted, STABILITY)
    logarithm = np.log(inside) + (shifted - inside) / inside  # the tangent below eps
    value = (negative * negative - barrier_weight * logarithm).sum() / len(factors)
    slopes = -2.0 * negative - barrier_weight / inside
    by_weight = (vectors * slopes[:, None, :]) @ vectors.transpose(0, 2, 1)
    gradient = -factors.T @ np.tensordot(by_weight, BASIS, axes=((1, 2), (1, 2))) / len(factors)
    return float(value), gradient


def third_derivative_bounds(
    features: ActionValueFeatures, errors: np.ndarray, radius: float = RADIUS
) -> np.ndarray:
    """Return the bounds B_j of the Gaussians (equation 15), (G,), exact in these states.

    A Gaussian's third derivative by d along a unit vector v, at x = (d - c_d) / s_d, is
    (3 x'v - (x'v)^3) exp(-|x|^2 / 2) / s_d^3 times the factor exp(-|e - c_e|^2 / (2 s_e^2)) of the
    state. It never exceeds 1.3801 / s_d^3.

    Args:
        features: phi.
        errors: e of the states, (S, 12).
        radius: D, of deviations of the thrusts.
    """
    away = errors[:, None, :] - features.error_centres
    nearest = np.einsum("sgi,sgi->sg", away, away).min(axis=0)
    centers = np.linalg.norm(features.deviation_centres, axis=1)
    low = np.maximum(centers - radius, 0.0) / DEVIATION_WIDTH
    high = (centers + radius) / DEVIATION_WIDTH
    candidates = [low, high, *(np.clip(peak, low, high) for peak in PEAKS)]
    steepest = np.max([_steepness(distance) for distance in candidates], axis=0)
    return steepest * np.exp(-0.5 * nearest / ERROR_WIDTH**2) / DEVIATION_WIDTH**3


def _steepness(distances: np.ndarray) -> np.ndarray:
    """Return the largest |3 t - t^3| exp(-r^2 / 2) over |t| <= r, of distances r (G,)."""
    ends = np.abs(3.0 * distances - distances**3)
    within = np.where(distances >= 1.0, 2.0, 0.0)  # at t = 1
    return np.maximum(ends, within) * np.exp(-0.5 * distances * distances)


def third_order_penalty(magnitudes: np.ndarray, bounds: np.ndarray) -> tuple[float, np.ndarray]:
    """Return R_3 = L2^2 (equations 16 and 17) and its gradient in the magnitudes, (G,).

    Args:
        magnitudes: |theta3|, (G,), of the features as they are.
        bounds: B, (G,), as from `third_derivative_bounds`.
    """
    lipschitz = float(magnitudes @ bounds)
    return lipschitz * lipschitz, 2.0 * lipschitz * bounds


def penalized_theta(
    theta: np.ndarray,
    hessian: np.ndarray,
    feature_scales: np.ndarray,
    features: ActionValueFeatures,
    errors: np.ndarray,
    weights: PenaltyWeights,
) -> np.ndarray:
    """Return theta of the module's program, (features,); theta itself if both weights are 0.

    The coefficients without a penalty are eliminated. Each height of a Gaussian is a difference of
    two numbers >= 0, whose sum replaces |theta3|, so that the function is smooth for L-BFGS-B.

    Args:
        theta: theta_0, the solution without penalties, (features,).
        hessian: H, (features, features), symmetric and positive definite.
        feature_scales: what phi was divided by, (features,).
        features: phi.
        errors: e of the data's states, (N, 12).
        weights: lambda_p, beta and lambda_3.

    Raises:
        ValueError: if a weight is negative or not finite.
        ArithmeticError: if no minimum is found.
    """
    for name, weight in weights._asdict().items():
        if not 0.0 <= weight < np.inf:
            raise ValueError(f"{name}_weight is {weight}; pass a number >= 0, 0 for none")
    if weights.psd == weights.third == 0.0:
        return theta
    start = features.curvature.start
    rest = np.linalg.solve(hessian[:start, :start], hessian[:start, start:])
    reduced = hessian[start:, start:] - hessian[start:, :start] @ rest
    program = _Program(
        theta[start:],
        0.5 * (reduced + reduced.T),
        feature_scales[start:],
        _grid_factors(features, errors),
        third_derivative_bounds(features, errors),
        weights,
    )
    found = program.solution()
    return np.concatenate([theta[:start] - rest @ (found - theta[start:]), found])


def _grid_factors(features: ActionValueFeatures, errors: np.ndarray) -> np.ndarray:
    """Return phi2 in the states of the grid, (S, P)."""
    if not features.state_dependent:
        return np.ones((1, 1))
    chosen = np.linspace(0, len(errors) - 1, min(GRID_STATES, len(errors))).astype(int)
    return np.concatenate([np.ones((len(chosen), 1)), errors[chosen]], axis=1)


class _Program:
    """The module's program in the coefficients theta2 and theta3 alone.

    Its variables are (theta2, theta3_+, theta3_-). For the minimizer they are scaled so that the
    data term has second derivative 2 in each and the gradient is 1 at the start.
    """

    def __init__(
        self,
        theta: np.ndarray,
        hessian: np.ndarray,
        scales: np.ndarray,
        factors: np.ndarray,
        bounds: np.ndarray,
        weights: PenaltyWeights,
    ) -> None:
        self._theta, self._hessian, self._scales = theta, hessian, scales
        self._factors, self._bounds, self._weights = factors, bounds, weights
        self._split = len(theta) - len(bounds)  # of theta2 and theta3
        heights = theta[self._split :]
        parts = (theta[: self._split], np.maximum(heights, 0.0), np.maximum(-heights, 0.0))
        self._start = np.concatenate(parts)
        units = 1.0 / np.sqrt(np.diagonal(hessian))
        self._units = np.concatenate([units, units[self._split :]])

    def solution(self) -> np.ndarray:
        """Return (theta2, theta3).

        Raises:
            ArithmeticError: if the minimizer stops before the gradient is small.
        """
        size = float(np.abs(self._slopes(self._start)).max())
        if size == 0.0:
            return self._theta
        units = self._units * size

        def scaled(variables: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = self._objective(variables * units)
            return value / size**2, gradient * units / size**2

        found = minimize(
            scaled,
            self._start / units,
            jac=True,
            method="L-BFGS-B",
            bounds=[(None, None)] * self._split + [(0.0, None)] * (2 * len(self._bounds)),
            options=MINIMIZER,
        )
        parts = found.x * units
        left = float(np.abs(self._slopes(parts)).max()) / size
        if not left <= ACCEPTED_GRADIENT:
            raise ArithmeticError(
                f"with {self._weights} the fit stopped after {found.nit} iterations with a "
                f"gradient of {left:.1e} of the first; at most {ACCEPTED_GRADIENT} is accepted; "
                "pass smaller weights"
            )
        return self._joined(parts)

    def _slopes(self, parts: np.ndarray) -> np.ndarray:
        """Return the gradient in the scaled variables, 0 where a bound blocks it."""
        slopes = self._objective(parts)[1] * self._units
        held = parts <= 0.0
        held[: self._split] = False
        return np.where(held, np.minimum(slopes, 0.0), slopes)

    def _joined(self, parts: np.ndarray) -> np.ndarray:
        count = len(self._theta)
        joined = parts[:count].copy()
        joined[self._split :] -= parts[count:]
        return joined

    def _objective(self, parts: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the program's value and gradient in (theta2, theta3_+, theta3_-)."""
        split = self._split
        theta = self._joined(parts)
        change = theta - self._theta
        by_theta = 2.0 * self._hessian @ change
        value = 0.5 * float(change @ by_theta)
        if self._weights.psd > 0.0:
            curvatures = (theta / self._scales)[:split].reshape(-1, len(BASIS))
            penalty, slope = definiteness_penalty(curvatures, self._factors, self._weights.barrier)
            value += self._weights.psd * penalty
            by_theta[:split] += self._weights.psd * slope.ravel() / self._scales[:split]
        gradient = np.concatenate([by_theta, -by_theta[split:]])
        scales = np.tile(self._scales[split:], 2)
        penalty, slope = third_order_penalty(parts[split:] / scales, np.tile(self._bounds, 2))
        value += self._weights.third * penalty
        gradient[split:] += self._weights.third * slope / scales
        return value, gradient
