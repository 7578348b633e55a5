"""Constraints on outputs as rows: lower <= g(y) <= upper, with g quadratic without cross terms.

    g_i(y) = sum_j squares_ij y_j^2 + linear_i . y,   i = 1 .. k

An equality has two equal bounds, and a bound that does not exist is infinite. All functions take
NumPy arrays and PyTorch tensors alike (the array API), of B instances at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import array_api_compat as api
import numpy as np

Array = Any  # NumPy's or PyTorch's


class QuadraticRows(NamedTuple):
    """k rows for each of B instances; a leading 1 stands for the same rows for all of them."""

    linear: Array  # (B or 1, k, n)
    lower: Array  # (B or 1, k)
    upper: Array  # (B or 1, k)
    squares: Array | None = None  # (B or 1, k, n); None if all rows are linear

    def values(self, outputs: Array) -> Array:
        """Return g, (B, k), at outputs (B, n)."""
        found = _products(self.linear, outputs)
        if self.squares is not None:
            found = found + _products(self.squares, outputs * outputs)
        return found

    def jacobian(self, outputs: Array) -> Array:
        """Return dg/dy, (B, k, n), at outputs (B, n)."""
        if self.squares is not None:
            return self.linear + 2.0 * self.squares * outputs[:, None, :]
        xp = api.array_namespace(outputs)
        return xp.broadcast_to(self.linear, (outputs.shape[0], *self.linear.shape[1:]))


def at_least(
    matrices: np.ndarray,
    bounds: np.ndarray,
    scale: np.ndarray | float = 1.0,
    offset: np.ndarray | float = 0.0,
) -> QuadraticRows:
    """Return the rows A u >= b of u = scale * y + offset, as rows of y.

    Args:
        matrices: A, (B or 1, k, n).
        bounds: b, (B or 1, k).
        scale: (n,) or one number.
        offset: (n,) or one number.
    """
    lower = bounds - (matrices * offset).sum(axis=-1)
    return QuadraticRows(matrices * scale, lower, np.full(lower.shape, np.inf))


def _products(matrices: Array, vectors: Array) -> Array:
    """Return the products of matrices (B or 1, k, n) and vectors (B, n)."""
    if matrices.shape[0] == 1:
        return vectors @ matrices[0].T
    return (matrices @ vectors[:, :, None])[:, :, 0]


def beyond(values: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return by how much values (B, k) are above upper and below lower bounds, both >= 0.

    Bounds may be infinite. NaN stays NaN.
    """
    return positive_part(values - upper), positive_part(lower - values)


def residual(values: Array, lower: Array, upper: Array) -> Array:
    """Return the signed distance of values (B, k) to their bounds: g - P(g), 0 within them."""
    above, below = beyond(values, lower, upper)
    return above - below


def violation(values: Array, lower: Array, upper: Array) -> Array:
    """Return by how much each value breaks a bound, (B, k), >= 0.

    It is positive for every value if a lower bound exceeds the upper one, where `residual` may
    cancel.
    """
    xp = api.array_namespace(values)
    return xp.maximum(*beyond(values, lower, upper))


def positive_part(numbers: Array) -> Array:
    """Return max(numbers, 0); its slope at 0 is 0, and NaN stays NaN."""
    xp = api.array_namespace(numbers)
    return xp.where(numbers <= 0.0, 0.0, numbers)
