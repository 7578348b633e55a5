"""Checks of actions: how environments handle actions outside their action space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space


def checked_discrete(action: Any, space: Discrete) -> int:
    """Return the action as an int.

    Raises:
        ValueError: if it is not one whole number inside the space.
    """
    array = np.asarray(action)
    first = int(space.start)
    if array.shape in ((), (1,)) and np.issubdtype(array.dtype, np.integer):
        number = int(array.reshape(()))
        if first <= number < first + int(space.n):
            return number
    raise ValueError(
        f"action {action!r} is not in {space}; pass one whole number from {first} to "
        f"{first + int(space.n) - 1}"
    )


def checked_box(action: Any, space: Box) -> np.ndarray:
    """Return the action as a float64 array of the space's shape, clipped to its bounds.

    Raises:
        ValueError: if the shape is wrong, or an entry is NaN or not a number.
    """
    return _checked_numbers(action, space.shape, space.low, space.high)


def checked_batch(actions: Any, space: Space, num_envs: int) -> np.ndarray:
    """Return a batch of actions, one row per environment, checked like single actions.

    Raises:
        ValueError: if the shape of the batch is wrong or a row is not in the space.
        TypeError: if the space is neither Discrete nor Box.
    """
    if isinstance(space, Discrete):
        array = np.asarray(actions)
        first = int(space.start)
        if array.shape != (num_envs,) or array.dtype.kind not in "iu":
            raise ValueError(
                f"actions of shape {array.shape} and type {array.dtype} are not a batch of "
                f"{space}; pass {num_envs} whole numbers, shape ({num_envs},)"
            )
        if array.min() < first or array.max() >= first + int(space.n):
            row = int(np.argmax((array < first) | (array >= first + int(space.n))))
            checked_discrete(array[row], space)
        return array
    if isinstance(space, Box):
        return _checked_numbers(actions, (num_envs, *space.shape), space.low, space.high)
    raise TypeError(f"actions of {space} cannot be checked; use a Discrete or Box action space")


def action_check(space: Space) -> Callable[[Any, Any], Any]:
    """Return the check of single actions in a space: `checked_discrete` or `checked_box`.

    Raises:
        TypeError: if the space is neither Discrete nor Box.
    """
    if isinstance(space, Discrete):
        return checked_discrete
    if isinstance(space, Box):
        return checked_box
    raise TypeError(f"actions of {space} cannot be checked; use a Discrete or Box action space")


def whole_actions(space: Space) -> tuple[int, int]:
    """Return (first, end): ints from first to end - 1 are actions; (0, 0) if none are."""
    if isinstance(space, Discrete):
        return int(space.start), int(space.start + space.n)
    return 0, 0


def _checked_numbers(
    given: Any, shape: tuple[int, ...], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"action {given!r} has entries that are not numbers") from None
    if array.shape != shape:
        raise ValueError(f"action has shape {array.shape}; pass an array of shape {shape}")
    if np.count_nonzero(array != array):  # NaN; counting is the fastest way to ask
        raise ValueError(
            f"action {given!r} contains NaN; pass numbers (they are clipped to bounds)"
        )
    return np.minimum(np.maximum(array, low), high)
