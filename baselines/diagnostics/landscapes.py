"""Slices through the landscape of a loss: its values on a plane or a line of parameters.

    L(theta + alpha d_1 + beta d_2)

Random directions are scaled to the network first: each output unit's weights to the length that
the network's own have, biases and the like to 0. Otherwise networks with small weights look sharp.
Source: Li et al. (2018), "Visualizing the loss landscape of neural nets" (arXiv 1712.09913).
Along eigenvectors the slice spans what doubles the loss, by its curvature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from agents.flat_parameters import Parameters, flat_values, set_flat_values

Measures = Callable[[], Sequence[float]]  # at the parameters as they are, such as loss, violation
SHORTEST = 1e-10
DOUBLING = 1.0  # by which share of the loss an eigenvector's slice is to rise at its end
WIDEST = 0.5  # of a slice, as a share of the parameters' length


class Surface(NamedTuple):
    """Measured values on a grid of parameters."""

    alphas: np.ndarray  # (a,)
    betas: np.ndarray  # (b,); a single 0 for a line
    values: np.ndarray  # (measures, a, b); NaN where a value is not finite


def filter_direction(parameters: Parameters, seed: int) -> torch.Tensor:
    """Return a random direction scaled unit by unit to the parameters, (d,).

    Args:
        parameters: whose tensors of two and more axes have their units along the first.
        seed: of the normal numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for parameter in parameters:
        values = parameter.detach()
        drawn = torch.randn(values.shape, generator=generator, dtype=torch.float64).to(values)
        if values.ndim < 2:
            parts.append(torch.zeros_like(values).reshape(-1))
            continue
        flat, own = drawn.reshape(len(drawn), -1), values.reshape(len(values), -1)
        lengths = own.norm(dim=1, keepdim=True) / (flat.norm(dim=1, keepdim=True) + SHORTEST)
        parts.append((flat * lengths).reshape(-1))
    return torch.cat(parts)


def slice_reach(eigenvalue: float, loss: float, parameters: Parameters) -> float:
    """Return how far to go along an eigenvector: to where its parabola doubles the loss.

    r^2 eigenvalue / 2 = |loss| + 0.001,   r <= |theta| / 2
    """
    widest = WIDEST * float(flat_values(parameters).norm())
    if eigenvalue <= 0.0:
        return widest
    return min((2.0 * DOUBLING * (abs(loss) + 1e-3) / eigenvalue) ** 0.5, widest)


def surface(
    measures: Measures,
    parameters: Parameters,
    first: torch.Tensor,
    second: torch.Tensor | None = None,
    points: int = 25,
    reach: tuple[float, float] = (1.0, 1.0),
) -> Surface:
    """Return the measures on a plane, or a line, around the parameters.

    Parameters and random numbers are as before afterward, bit for bit.

    Args:
        measures: evaluated at every point, without gradients.
        parameters: that are moved.
        first: d_1, (d,).
        second: d_2; None for a line.
        points: along each direction; an odd number has the parameters themselves in it.
        reach: of alpha and of beta, on both sides.
    """
    alphas = np.linspace(-reach[0], reach[0], points)
    betas = np.zeros(1) if second is None else np.linspace(-reach[1], reach[1], points)
    start = flat_values(parameters)
    other = torch.zeros_like(start) if second is None else second
    rows = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        state = torch.get_rng_state()
        try:
            for alpha in alphas:
                for beta in betas:
                    moved = start + float(alpha) * first.to(start) + float(beta) * other.to(start)
                    set_flat_values(parameters, moved)
                    torch.set_rng_state(state)  # what is random is the same everywhere
                    rows.append([float(one) for one in measures()])
        finally:
            set_flat_values(parameters, start)
    values = np.array(rows).T.reshape(-1, len(alphas), len(betas))
    return Surface(alphas, betas, np.where(np.isfinite(values), values, np.nan))


def path_directions(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the plane in which a training moved most, and its points in it.

    Args:
        path: parameters at T >= 2 moments, (T, d); the last is the center.

    Returns:
        Directions of length 1, (2, d), by principal components of the moments, and coordinates of
        the moments, (T, 2).

    Raises:
        ValueError: if there are fewer than two moments.
    """
    if len(path) < 2:
        raise ValueError(f"the path has {len(path)} moments; a direction needs at least 2")
    moved = path - path[-1]
    _, _, directions = np.linalg.svd(moved, full_matrices=False)
    plane = np.zeros((2, path.shape[1]))
    plane[: min(2, len(directions))] = directions[:2]
    return plane, moved @ plane.T
