"""Checks observations against a space, one of them or a batch, before a policy sees them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
from gymnasium import spaces

NUMBERS = "biuf"  # kinds of NumPy's types


def batch_size(space: spaces.Space[Any], observation: Any) -> int | None:
    """Return how many observations a batch has, None for a single one.

    Numbers outside of the bounds of a space of floats are allowed: rounding leads there. Of spaces
    other than Box, Discrete, MultiDiscrete, MultiBinary and Dict of them, nothing is checked.

    Args:
        space: of one observation.
        observation: one, or a batch with another axis in front, (N, ...).

    Raises:
        ValueError: if the shape is another one, or a number is not finite, or not in a space of
            whole numbers; the message has the space and the value.
    """
    if not isinstance(space, spaces.Dict):
        return _batch_size(space, observation, "the observation")
    if not isinstance(observation, Mapping) or {*observation} != {*space}:
        given = sorted(observation) if isinstance(observation, Mapping) else repr(observation)
        raise ValueError(f"the observation is {given}; pass a dict with the keys {sorted(space)}")
    sizes = {
        key: _batch_size(each, observation[key], f"the observation's {key!r}")
        for key, each in space.items()
    }
    if len({*sizes.values()}) > 1:
        raise ValueError(
            f"the entries of the observation have different numbers of observations: {sizes} "
            "(None is a single one); pass as many of each"
        )
    return next(iter(sizes.values()), None)


def _batch_size(space: spaces.Space[Any], observation: Any, what: str) -> int | None:
    limits = _limits(space)
    if limits is None or space.shape is None:
        return None
    low, high = limits
    try:
        given = np.asarray(observation)
    except ValueError:  # of lists of different lengths
        given = np.asarray(None)
    if given.dtype.kind not in NUMBERS:
        raise ValueError(f"{what} is {observation!r}; pass numbers in {space}")
    shapes = _shapes(space)
    is_single = given.shape in shapes
    if not is_single and given.shape[1:] not in shapes:
        raise ValueError(
            f"{what} has shape {given.shape}, but the space is {space}; pass one of shape "
            f"{space.shape}, or a batch of them, (N, ...)"
        )
    if np.issubdtype(space.dtype, np.floating):
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(given.astype(space.dtype))
        needed = "finite numbers"
    else:
        wrong = ~((given >= low) & (given <= high) & (given == np.floor(given)))
        needed = f"whole numbers from {np.min(low)} to {np.max(high)}"
    if wrong.any():
        raise ValueError(
            f"{what} has {given[wrong].flat[0]}, which is not in {space}; pass {needed}"
        )
    return None if is_single else len(given)


def _shapes(space: spaces.Space[Any]) -> list[tuple[int, ...]]:
    """Return the shapes of one observation: images may have their channels first or last."""
    shape = tuple(space.shape or ())
    if not _is_image(space):
        return [shape]
    return [shape, (shape[1], shape[2], shape[0]), (shape[2], shape[0], shape[1])]


def _is_image(space: spaces.Space[Any]) -> bool:
    return len(space.shape or ()) == 3 and space.dtype == np.uint8


@singledispatch
def _limits(space: spaces.Space[Any]) -> tuple[Any, Any] | None:
    """Return the lowest and highest numbers of a space; None for kinds that are not known."""
    return None


@_limits.register
def _(space: spaces.Box) -> tuple[Any, Any]:
    return (space.low.min(), space.high.max()) if _is_image(space) else (space.low, space.high)


@_limits.register
def _(space: spaces.Discrete) -> tuple[Any, Any]:
    return space.start, space.start + space.n - 1


@_limits.register
def _(space: spaces.MultiDiscrete) -> tuple[Any, Any]:
    return space.start, space.start + space.nvec - 1


@_limits.register
def _(space: spaces.MultiBinary) -> tuple[Any, Any]:
    return 0, 1
