"""Log-linear policies: softmax over linear scores, pi(a | s) ~ exp(<theta, phi(s, a)>)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lstsq

from agents.tabular.features import feature_table
from agents.tabular.softmax_policy import log_softmax, softmax
from safe_envs.tabular.model import TabularCMDP

# Near a deterministic policy some directions depend only on actions of vanishing probability, and
# following them makes theta jump. Any cutoff from 1e-8 to 1e-4 gave the same grid-world figures to
# three digits; machine precision (about 1e-14) ruins them.
REGRESSION_CUTOFF = 1e-6


class LogLinearPolicies:
    """The class of all policies that are log-linear in given features.

    Internally theta is held in an orthonormal basis of the space that the feature vectors span.
    The part of theta outside that space has no effect on the policy, and inner products do not
    change. So every gradient step and least-norm solution equals the one in theta, with fewer
    numbers: unused features cost nothing.
    """

    def __init__(self, cmdp: TabularCMDP, features: np.ndarray | str) -> None:
        table = feature_table(cmdp, features)  # (S, A, d)
        self.num_features = table.shape[2]
        rows = table.reshape(-1, self.num_features)
        _, singular, directions = np.linalg.svd(rows, full_matrices=False)
        spanned = singular > max(rows.shape) * np.finfo(np.float64).eps * singular[0]
        self.basis = directions[spanned].T  # (d, k)
        self.flat = rows @ self.basis  # (S * A, k)
        self.table = self.flat.reshape(*table.shape[:2], -1)  # (S, A, k), the same memory
        self.smoothness = float((rows**2).sum(axis=1).max())  # max |phi|^2

    def starting_parameters(self, initial_parameters: np.ndarray | None) -> np.ndarray:
        """Return the (k,) start for (d,) parameters of all features, zeros if None.

        Raises:
            ValueError: if there is not one finite number per feature.
        """
        if initial_parameters is None:
            return np.zeros(self.flat.shape[1])
        parameters = np.array(initial_parameters, dtype=np.float64)
        if parameters.shape != (self.num_features,) or not np.isfinite(parameters).all():
            raise ValueError(
                f"initial_parameters has shape {parameters.shape} but there are "
                f"{self.num_features} features; pass finite numbers of shape "
                f"({self.num_features},)"
            )
        return parameters @ self.basis

    def log_policy(self, parameters: np.ndarray) -> np.ndarray:
        """Return log pi_theta(a | s), shape (S, A)."""
        return log_softmax(self.logits(parameters))

    def logits(self, parameters: np.ndarray) -> np.ndarray:
        """Return <theta, phi(s, a)>, shape (S, A)."""
        return (self.flat @ parameters).reshape(self.table.shape[:2])

    def pull_back(self, logit_gradient: np.ndarray) -> np.ndarray:
        """Return the gradient in theta of a function with this (S, A) gradient in the logits."""
        return logit_gradient.ravel() @ self.flat

    def projection_gradient(
        self, parameters: np.ndarray, target: np.ndarray, state_weights: np.ndarray
    ) -> np.ndarray:
        """Return the gradient in theta of sum_s d(s) KL(target(. | s) || pi_theta(. | s)).

        It is sum_s d(s) sum_a (pi_theta - target)(a | s) phi(s, a) (arXiv 2605.11694, eq. 56).
        """
        policy = softmax(self.logits(parameters))
        return self.pull_back(state_weights[:, None] * (policy - target))

    def project(
        self,
        parameters: np.ndarray,
        target: np.ndarray,
        state_weights: np.ndarray,
        steps: int,
    ) -> np.ndarray:
        """Return theta after gradient steps on the KL divergence from the target policy.

        The divergence is convex and max |phi|^2 smooth in theta for weights that sum to 1, so
        each step has the size 1 / max |phi|^2.
        """
        for _ in range(steps):
            gradient = self.projection_gradient(parameters, target, state_weights)
            parameters = parameters - gradient / self.smoothness
        return parameters

    def natural_direction(
        self, policy: np.ndarray, state_weights: np.ndarray, advantages: np.ndarray
    ) -> np.ndarray:
        """Return the natural policy gradient in theta, shape (k,).

        The w of least norm that minimizes the compatible regression (Kakade 2001)

            sum_s d(s) sum_a pi(a | s) (<w, phi(s, a) - sum_a' pi(a' | s) phi(s, a')> - A(s, a))^2.

        Directions whose singular value is below `REGRESSION_CUTOFF` of the largest are left out.
        """
        mean_feature = np.matmul(policy[:, None, :], self.table)  # (S, 1, k)
        root_weights = np.sqrt(state_weights[:, None] * policy)  # (S, A)
        design = (root_weights[:, :, None] * (self.table - mean_feature)).reshape(self.flat.shape)
        target = (root_weights * advantages).ravel()
        return lstsq(
            design, target, cond=REGRESSION_CUTOFF, check_finite=False, lapack_driver="gelsy"
        )[0]
