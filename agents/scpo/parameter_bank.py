"""Earlier parameters with their measured constraints; a step is a combination of them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch

from safe_envs.contract.argument_checks import check_number

SHORTEST = 1e-9  # shorter columns, relative to the raw step, are not used
CLOSEST = 1e-12  # squared distance lost in rounding, relative to the norms'


class Measured(NamedTuple):
    """Parameters and the constraints measured there."""

    theta: torch.Tensor  # (d,)
    value: np.ndarray  # (k,)


class Columns(NamedTuple):
    """Steps from the current parameters theta; the raw step is the last one."""

    steps: torch.Tensor  # D', (n, d), double precision
    values: np.ndarray  # G, (n, k): g(theta + step)
    gram: np.ndarray  # S = D' P D, (n, n)

    def combined(self, coefficients: np.ndarray) -> torch.Tensor:
        """Return D c, (d,)."""
        return torch.from_numpy(coefficients) @ self.steps


class ParameterBank:
    """The last m measured parameters, in absolute values.

    The values are absolute, not differences from the current parameters as in Algorithm 1. Its
    re-centering, line 14, is then exact and needs no computation.

    Args:
        size: m, at least 1.
    """

    def __init__(self, size: int) -> None:
        check_number("bank_size", size, low=1)
        self._kept: deque[Measured] = deque(maxlen=int(size))

    def add(self, theta: torch.Tensor, value: np.ndarray) -> None:
        """Add parameters (d,) with their constraints (k,), unless they are the last ones again."""
        if self._kept and torch.equal(self._kept[-1].theta, theta):
            return
        self._kept.append(Measured(theta.clone(), value.copy()))

    def columns(self, theta: torch.Tensor, metric: torch.Tensor, extra: list[Measured]) -> Columns:
        """Return the steps from theta to all kept parameters, the last added one last.

        Args:
            theta: the current parameters, (d,).
            metric: the diagonal of P, (d,).
            extra: further candidates, put first.
        """
        measured = [*extra, *self._kept]
        measured = [one for one in measured if np.isfinite(one.value).all()]
        steps = torch.stack([one.theta for one in measured]).double() - theta.double()
        values = np.stack([one.value for one in measured])
        gram = ((steps * metric) @ steps.T).numpy()
        norms = np.sqrt(np.diag(gram))
        keep = np.flatnonzero(norms >= SHORTEST * norms[-1])
        return Columns(steps[torch.from_numpy(keep)], values[keep], gram[np.ix_(keep, keep)])

    def state_dict(self) -> list[dict[str, torch.Tensor]]:
        """Return the contents, oldest first."""
        return [{"theta": p.theta, "value": torch.from_numpy(p.value)} for p in self._kept]

    def load_state_dict(self, state: list[dict[str, torch.Tensor]]) -> None:
        """Restore what `state_dict` returned."""
        self._kept.clear()
        self._kept.extend(Measured(one["theta"], one["value"].numpy()) for one in state)


def largest_slopes(columns: Columns, current: np.ndarray) -> np.ndarray:
    """Return the largest |g_j(a) - g_j(b)| / |a - b| over all pairs of points, (k,).

    The points are those the columns lead to and the current one. This is the paper's first guess
    of the smoothness constants L (section IV-A).

    Args:
        columns: n steps from the current point.
        current: g there, (k,).
    """
    values = np.vstack([columns.values, current])
    padded = np.pad(columns.gram, (0, 1))
    squares = np.diag(padded)
    sums = squares[:, None] + squares[None, :]
    distances = sums - 2.0 * padded
    apart = distances > CLOSEST * sums
    slopes = np.zeros_like(current)
    for i in range(len(values) - 1):
        others = i + 1 + np.flatnonzero(apart[i, i + 1 :])
        if len(others):
            rises = np.abs(values[others] - values[i]) / np.sqrt(distances[i, others])[:, None]
            np.maximum(slopes, rises.max(axis=0), out=slopes)
    return slopes


def slopes_along(
    coefficients: np.ndarray, columns: Columns, current: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """Return |g_j - g_j(current)| / |step| for a combination of columns, (k,); 0 if not finite.

    Args:
        coefficients: of the columns, (n,); their sum is the step, which is not zero.
        columns: n steps from the current point.
        current: g there, (k,).
        value: g at the end of the step, (k,).
    """
    square = coefficients @ columns.gram @ coefficients
    length = np.sqrt(max(square, 0.0))  # rounding, where columns are nearly dependent
    rise = np.where(np.isfinite(value), np.abs(value - current), 0.0)
    return rise / length if length > 0.0 else np.zeros_like(rise)
