"""Converts one or many observations to rows for controllers, and rows of actions back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

PredictState = tuple[np.ndarray, ...] | None  # passed through by `predict`, as in Stable-Baselines3


class Rows(NamedTuple):
    """Observations as float64 rows."""

    values: np.ndarray  # (N, n)
    single: bool  # whether they came as one observation, (n,)

    def actions(self, values: np.ndarray) -> np.ndarray:
        """Return actions (N, a) in [-1, 1] as float32, (N, a), or (a,) if one was asked for."""
        actions = np.clip(values, -1.0, 1.0).astype(np.float32)
        return actions[0] if self.single else actions


def observation_rows(controller: str, observation: Any, width: int) -> Rows:
    """Return one observation (n,) or a batch (N, n) as rows.

    Args:
        controller: its name, for error messages.
        observation: array of finite numbers.
        width: n.

    Raises:
        ValueError: if the shape is wrong or an entry is not finite.
    """
    values = np.asarray(observation, dtype=np.float64)
    if values.ndim not in (1, 2) or values.shape[-1] != width:
        raise ValueError(
            f"the observation has shape {values.shape}; {controller} takes one of shape "
            f"({width},) or a batch (N, {width}) from the environment it was made for"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"the observation contains NaN or infinite entries: {values.tolist()}; {controller} "
            "takes finite numbers, so reset the environment"
        )
    return Rows(np.atleast_2d(values), values.ndim == 1)
