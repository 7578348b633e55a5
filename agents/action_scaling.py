"""The policy's actions and the environment's: an affine map between finite bounds and [-1, 1].

    action = middle + half u,   u the policy's action, half = (high - low) / 2

where both bounds are finite; elsewhere action = u. A policy that starts with deviation 1 then
explores the same share of every range. Discrete actions are shifted to the space's own start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import DTypeLike


class _Rows(NamedTuple):
    """The map and the bounds, once for every action of a batch, (n, ...).

    NumPy combines arrays of one shape in half the time of a row and an array.
    """

    half: np.ndarray
    middle: np.ndarray
    low: np.ndarray  # of the space's type if the map is the identity, else float64
    high: np.ndarray


class ActionScaling:
    """Maps the policy's actions (n, k) to actions of a space (n, ...) and back.

    Args:
        space: of the environment's actions.
        enabled: False leaves Box actions in the environment's units.
    """

    def __init__(self, space: spaces.Space, enabled: bool = True) -> None:
        self.space = space
        self.middle, self.half = np.zeros(0), np.ones(0)
        self._start = np.asarray(getattr(space, "start", 0))
        if isinstance(space, spaces.Box):
            self.middle, self.half = _middle_and_half(space) if enabled else _identity(space)
            ends = self.to_policy(np.stack([space.low, space.high]))
            self._low, self._high = ends[0], ends[1]  # of the policy's actions
            self._is_identity = not self.middle.any() and bool((self.half == 1.0).all())
            self._is_whole = np.issubdtype(space.dtype, np.integer)
            self._rows = self._repeated(space, 1)
        self._is_shifted = bool(self._start.any())

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """Return the environment's actions, (n, k) to (n, ...), within the bounds of a Box."""
        space = self.space
        if not isinstance(space, spaces.Box):
            return actions + self._start if self._is_shifted else actions
        # Minimum and maximum are faster than np.clip, and this runs at every step.
        rows = self._rows
        if len(rows.low) != len(actions):
            rows = self._rows = self._repeated(space, len(actions))
        wanted = actions if actions.shape == rows.low.shape else actions.reshape(rows.low.shape)
        if self._is_identity and actions.dtype == space.dtype:
            inside: np.ndarray = np.maximum(wanted, rows.low)
            return np.minimum(inside, rows.high, out=inside)
        inside = wanted.astype(np.float64)
        inside *= rows.half
        inside += rows.middle
        if self._is_whole:
            np.rint(inside, out=inside)
        np.minimum(np.maximum(inside, rows.low, out=inside), rows.high, out=inside)
        return inside.astype(space.dtype)

    def _repeated(self, space: spaces.Box, rows: int) -> _Rows:
        bounds = space.dtype if self._is_identity else np.float64

        def filled(entries: np.ndarray, dtype: DTypeLike) -> np.ndarray:
            array = np.empty((rows, *space.shape), dtype)
            array[...] = entries.reshape(space.shape)
            return array

        return _Rows(
            filled(self.half, np.float64),
            filled(self.middle, np.float64),
            filled(space.low, bounds),
            filled(space.high, bounds),
        )

    def to_policy(self, actions: np.ndarray) -> np.ndarray:
        """Return the policy's actions, (n, ...) to (n, k) float64; the inverse of the map."""
        if not isinstance(self.space, spaces.Box):
            return actions - self._start
        flat = np.asarray(actions, dtype=np.float64).reshape(len(actions), -1)
        return (flat - self.middle) / self.half

    def share_at_bounds(self, actions: np.ndarray) -> float:
        """Return the share of the entries of Box actions (n, k) that are at a bound or beyond."""
        if not isinstance(self.space, spaces.Box):
            return 0.0
        return float(np.mean((actions <= self._low) | (actions >= self._high)))

    def tensor_to_environment(self, actions: torch.Tensor) -> torch.Tensor:
        """Return `to_environment` of a tensor."""
        return torch.as_tensor(self.to_environment(actions.cpu().numpy()), device=actions.device)


def _middle_and_half(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    low, high = space.low.astype(np.float64).ravel(), space.high.astype(np.float64).ravel()
    is_float = np.issubdtype(space.dtype, np.floating)
    largest = float(np.finfo(str(space.dtype)).max) if is_float else np.inf
    # Integers have no infinity: gymnasium stores "no bound" as their extremes.
    bounded = (space.bounded_below & space.bounded_above).ravel()
    finite = bounded & np.isfinite(low) & np.isfinite(high) & (low > -largest) & (high < largest)
    with np.errstate(invalid="ignore", over="ignore"):
        middle, half = low + 0.5 * (high - low), 0.5 * (high - low)
    scaled = finite & (half > 0)
    return np.where(scaled, middle, 0.0), np.where(scaled, half, 1.0)


def _identity(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    size = int(np.prod(space.shape))
    return np.zeros(size), np.ones(size)
