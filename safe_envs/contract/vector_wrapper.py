"""What wrappers of native vector forms share: their base class, and entries added to infos."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    from gymnasium.vector import VectorWrapper
except ImportError:  # Gymnasium < 1.0, whose vector API the native vector forms refuse
    from gymnasium.vector import (  # type: ignore[attr-defined,no-redef]
        VectorEnvWrapper as VectorWrapper,
    )


class NativeVectorWrapper(VectorWrapper):
    """A wrapper of a native vector form.

    Subclasses name `VectorWrapper` beside it: some libraries look for Gymnasium's class among the
    direct bases only.
    """

    @property
    def autoreset_mode(self) -> Any:
        """What happens to rows whose episode has ended, Gymnasium's `AutoresetMode`."""
        native: Any = self.env
        return native.autoreset_mode


def add_at_reset(neutral: dict[str, Any], infos: dict[str, Any], count: int) -> None:
    """Add the entries of one environment that was reset, for `count` environments."""
    values = {key: np.array([value] * count) for key, value in neutral.items()}
    _add(values, infos, np.ones(count, dtype=np.bool_))


def add_at_step(
    values: dict[str, np.ndarray], neutral: dict[str, Any], infos: dict[str, Any]
) -> None:
    """Add entries (N, ...) to the infos of a step; rows that were only reset get neutral ones."""
    stepped = infos["_cost"]
    if not stepped.all():
        for key, value in neutral.items():
            values[key][~stepped] = value
    _add(values, infos, stepped)
    if "final_info" in infos:
        _add(values, infos["final_info"], infos["_final_info"])


def _add(values: dict[str, np.ndarray], infos: dict[str, Any], rows: np.ndarray) -> None:
    for key, value in values.items():
        infos[key], infos[f"_{key}"] = value, rows
