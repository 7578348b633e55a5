"""Euclidean projection onto the probability simplex."""

from __future__ import annotations

import numpy as np


def project_rows_to_simplex(points: np.ndarray) -> np.ndarray:
    """Return the nearest probability vector of every row, shape (n, k).

    argmin_p ||p - x||^2 s.t. p >= 0, sum p = 1 is max(x - theta, 0). With x sorted downwards,
    theta = (x_1 + ... + x_j - 1) / j at the largest j that keeps x_j > theta (Held, Wolfe and
    Crowder 1974); that quotient rises up to this j and falls after it, so theta is its maximum.
    """
    ascending = np.sort(points, axis=1)
    # Rows are moved so that their largest entry is 0, which changes nothing but the rounding:
    # the result sums to 1 to the last digit however large the points are.
    largest = ascending[:, -1:]
    quotients = (ascending - largest)[:, ::-1].cumsum(axis=1)
    quotients -= 1.0
    quotients /= np.arange(1, points.shape[1] + 1)
    projected = points - largest
    projected -= quotients.max(axis=1, keepdims=True)
    return np.maximum(projected, 0.0, out=projected)
