"""The largest eigenvalues of a loss's Hessian: how sharp the place is that a training is at.

With gradient descent a step of size lr diverges along an eigenvector where lr x eigenvalue > 2;
networks tend to train near that edge. Adam divides each entry by its own scale first: then it is
the eigenvalue of D^-1/2 H D^-1/2 with D = sqrt(v) + eps that counts.

ARPACK (`scipy.sparse.linalg.eigsh`) finds the eigenvalues from products H v alone, which are exact
by differentiating twice, or differences of gradients where the loss cannot be (a projection by
cvxpylayers). Source: Cohen et al. (2021, arXiv 2103.00065), "Gradient descent on neural networks
typically occurs at the edge of stability"; with Adam: Cohen et al. (2022, arXiv 2207.14484).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch.nn.attention import SDPBackend, sdpa_kernel

from agents.flat_parameters import Parameters, flat_gradient, flat_values, set_flat_values

Loss = Callable[[], torch.Tensor]  # a scalar, at the parameters as they are
Product = Callable[[torch.Tensor], torch.Tensor]  # from v (d,) to H v
STEP = 1e-6  # of finite differences along a unit vector, in float64
TOLERANCE = 1e-7  # of eigenvalues, relative
MOST_RESTARTS = 60
UNRELIABLE = 1e-2  # residuals above this share of the largest eigenvalue


class Eigenpairs(NamedTuple):
    """The k largest eigenvalues of a symmetric matrix, the largest first."""

    values: np.ndarray  # (k,)
    vectors: np.ndarray  # (d, k), of length 1
    residuals: np.ndarray  # (k,) |H v - value v|

    @property
    def reliable(self) -> np.ndarray:
        """Which residuals are below a hundredth of the largest eigenvalue, (k,) bool."""
        reliable: np.ndarray = self.residuals <= UNRELIABLE * np.abs(self.values).max(initial=0.0)
        return reliable


@contextmanager
def exact_products(loss: Loss, parameters: Parameters) -> Iterator[Product]:
    """Give products with the Hessian of a loss at its parameters, by differentiating twice.

    Attention computes without its fused kernels meanwhile, which cannot be differentiated twice.
    """
    with sdpa_kernel(SDPBackend.MATH):
        gradient = flat_gradient(loss(), parameters, create_graph=True)

        def product(vector: torch.Tensor) -> torch.Tensor:
            given = vector.to(gradient)
            return flat_gradient(gradient @ given, parameters, retain_graph=True)

        yield product


@contextmanager
def difference_products(
    loss: Loss, parameters: Parameters, step: float = STEP
) -> Iterator[Product]:
    """Give products with the Hessian as central differences of gradients.

    The parameters are moved by `step` along a unit vector and put back, bit for bit. They should
    be float64. Kinks within a step spoil the result: keep it small.
    """
    start = flat_values(parameters)

    def gradient_at(values: torch.Tensor) -> torch.Tensor:
        set_flat_values(parameters, values)
        return flat_gradient(loss(), parameters)

    def product(vector: torch.Tensor) -> torch.Tensor:
        length = float(vector.norm())
        if length == 0.0:
            return torch.zeros_like(start)
        along = (vector / length).to(start)
        try:
            ahead, behind = gradient_at(start + step * along), gradient_at(start - step * along)
        finally:
            set_flat_values(parameters, start)
        return (ahead - behind) * (length / (2.0 * step))

    yield product


def preconditioned(product: Product, scale: torch.Tensor) -> Product:
    """Return products with D^-1/2 H D^-1/2.

    Args:
        product: with H.
        scale: D > 0, (d,); of Adam sqrt(v) + eps with v corrected for its start.
    """
    root = scale.sqrt()
    return lambda vector: product(vector / root) / root


def adam_scale(optimizer: torch.optim.Optimizer, parameters: Parameters) -> torch.Tensor:
    """Return D of an Adam optimizer, (d,) float64.

    Raises:
        ValueError: if it has taken no step, or is another optimizer.
    """
    group = optimizer.param_groups[0]
    parts = []
    for parameter in parameters:
        memory = optimizer.state.get(parameter, {})
        if "exp_avg_sq" not in memory:
            raise ValueError(
                f"{type(optimizer).__name__} has no second moments of the parameters; they exist "
                "after the first step of Adam"
            )
        correction = 1.0 - group["betas"][1] ** float(memory["step"])
        parts.append((memory["exp_avg_sq"].double().reshape(-1) / correction).sqrt() + group["eps"])
    return torch.cat(parts)


def largest_eigenpairs(product: Product, size: int, count: int = 5, seed: int = 0) -> Eigenpairs:
    """Return the largest eigenvalues of a symmetric matrix, as far as they converged.

    Args:
        product: with the matrix.
        size: d, of the matrix.
        count: k, at most d - 1.
        seed: of the first vector.

    Raises:
        ValueError: if a product is not finite.
    """

    def times(vector: np.ndarray) -> np.ndarray:
        found = product(torch.from_numpy(np.ascontiguousarray(vector.reshape(-1))))
        result: np.ndarray = found.detach().double().cpu().numpy()
        if not np.isfinite(result).all():
            raise ValueError("a product with the Hessian is not finite; the loss has diverged")
        return result

    operator = LinearOperator((size, size), matvec=times, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    wanted = min(count, size - 1)
    try:
        values, vectors = eigsh(
            operator, wanted, which="LA", v0=start, tol=TOLERANCE, maxiter=MOST_RESTARTS
        )
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    order = np.argsort(values)[::-1]
    values, vectors = values[order], vectors[:, order]
    moved = np.stack([times(one) for one in vectors.T], axis=1) if len(values) else vectors
    return Eigenpairs(values, vectors, np.linalg.norm(moved - vectors * values, axis=0))
