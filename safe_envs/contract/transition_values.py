"""Values of transitions: copied observations, and infos whose numbers are NumPy scalars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

# In an info. An integer too large for NumPy stays as it is.
_SCALARS: dict[type, Any] = {
    float: np.float64,
    bool: np.bool_,
    int: lambda value: np.asarray(value)[()],
    dict: lambda value: with_numpy_scalars(value),
}


def kept(observation: Any) -> Any:
    """Return a copy of an observation that the environment may change in place."""
    return observation.copy() if isinstance(observation, np.ndarray) else deepcopy(observation)


def with_numpy_scalars(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an info, including nested ones, with NumPy scalars for Python numbers.

    Other libraries read the `dtype` of values in infos.
    """
    return {
        key: _SCALARS[type(value)](value) if type(value) in _SCALARS else value
        for key, value in info.items()
    }


def plain_entries(info: Mapping[str, Any], name: str = "info") -> Iterator[str]:
    """Yield the names of entries that are neither NumPy values nor strings: "info['x']"."""
    for key, value in info.items():
        entry = f"{name}[{key!r}]"
        if isinstance(value, Mapping):
            yield from plain_entries(value, entry)
        elif not isinstance(value, np.generic | np.ndarray | str):
            yield entry
