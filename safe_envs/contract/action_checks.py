"""Checks of actions: how environments handle actions outside their action space."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space

FEW = 32  # numbers that plain Python compares faster than NumPy does


def checked_discrete(action: Any, space: Discrete) -> int:
    """Return the action as an int.

    Raises:
        ValueError: if it is not one whole number inside the space.
    """
    return _checked_whole(space, *whole_actions(space), action)


def checked_box(action: Any, space: Box) -> np.ndarray:
    """Return the action as a float64 array of the space's shape, clipped to its bounds.

    Raises:
        ValueError: if the shape is wrong, or an entry is NaN or not a number.
    """
    return _checked_numbers(space.shape, space.low, space.high, action)


def checked_batch(actions: Any, space: Space, num_envs: int) -> np.ndarray:
    """Return a batch of actions, one row per environment, checked like single actions.

    Raises:
        ValueError: if the shape of the batch is wrong or a row is not in the space.
        TypeError: if the space is neither Discrete nor Box.
    """
    if isinstance(space, Discrete):
        return _checked_whole_batch(space, *whole_actions(space), num_envs, actions)
    if isinstance(space, Box):
        return _checked_numbers((num_envs, *space.shape), space.low, space.high, actions)
    raise TypeError(f"actions of {space} cannot be checked; use a Discrete or Box action space")


def action_check(space: Space) -> Callable[[Any], Any]:
    """Return the check of single actions in a space: `checked_discrete` or `checked_box`.

    Raises:
        TypeError: if the space is neither Discrete nor Box.
    """
    if isinstance(space, Discrete):
        return partial(_checked_whole, space, *whole_actions(space))
    if isinstance(space, Box):
        return _box_check(space, space.shape)
    raise TypeError(f"actions of {space} cannot be checked; use a Discrete or Box action space")


def batch_check(space: Space, num_envs: int) -> Callable[[Any], np.ndarray]:
    """Return the check of batches of actions in a space: `checked_batch`.

    Raises:
        TypeError: if the space is neither Discrete nor Box.
    """
    if isinstance(space, Discrete):
        return partial(_checked_whole_batch, space, *whole_actions(space), num_envs)
    if isinstance(space, Box):
        return _box_check(space, (num_envs, *space.shape))
    raise TypeError(f"actions of {space} cannot be checked; use a Discrete or Box action space")


def whole_actions(space: Space) -> tuple[int, int]:
    """Return (first, end): ints from first to end - 1 are actions; (0, 0) if none are."""
    if isinstance(space, Discrete):
        return int(space.start), int(space.start + space.n)
    return 0, 0


def _checked_whole(space: Discrete, first: int, end: int, action: Any) -> int:
    if isinstance(action, np.integer) and first <= action < end:
        return int(action)
    array = np.asarray(action)
    if array.shape in ((), (1,)) and np.issubdtype(array.dtype, np.integer):
        number = int(array.reshape(()))
        if first <= number < end:
            return number
    raise ValueError(
        f"action {action!r} is not in {space}; pass one whole number from {first} to {end - 1}"
    )


def _checked_whole_batch(
    space: Discrete, first: int, end: int, num_envs: int, actions: Any
) -> np.ndarray:
    array = np.asarray(actions)
    if array.shape != (num_envs,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"actions of shape {array.shape} and type {array.dtype} are not a batch of "
            f"{space}; pass {num_envs} whole numbers, shape ({num_envs},)"
        )
    if np.minimum.reduce(array) < first or np.maximum.reduce(array) >= end:
        row = int(np.argmax((array < first) | (array >= end)))
        _checked_whole(space, first, end, array[row])
    return array


def _box_check(space: Box, shape: tuple[int, ...]) -> Callable[[Any], np.ndarray]:
    """Return the fastest check of arrays of a shape, to which the space's bounds broadcast."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    one_range = low.size and (low == low.flat[0]).all() and (high == high.flat[0]).all()
    if one_range and math.prod(shape) <= FEW:
        return partial(_checked_few, shape, low, high, low.item(0), high.item(0))
    if one_range:  # as arrays of shape (), in half the time
        low, high = np.array(low.item(0)), np.array(high.item(0))
    return partial(_checked_numbers, shape, low, high)


def _checked_few(
    shape: tuple[int, ...],
    low: np.ndarray,
    high: np.ndarray,
    lowest: float,
    highest: float,
    given: Any,
) -> np.ndarray:
    """Return what `_checked_numbers` returns; faster for a few numbers with the same bounds."""
    try:
        array = np.array(given, dtype=np.float64, order="C")
    except (TypeError, ValueError):
        return _checked_numbers(shape, low, high, given)  # which raises the error
    if array.shape != shape:
        return _checked_numbers(shape, low, high, given)
    entries = array.ravel()  # a view, because the order is C
    for i, number in enumerate(entries.tolist()):
        if not lowest <= number <= highest:
            if number != number:
                return _checked_numbers(shape, low, high, given)
            entries[i] = lowest if number < lowest else highest
    return array


def _checked_numbers(
    shape: tuple[int, ...], low: np.ndarray, high: np.ndarray, given: Any
) -> np.ndarray:
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"action {given!r} has entries that are not numbers") from None
    if array.shape != shape:
        raise ValueError(f"action has shape {array.shape}; pass an array of shape {shape}")
    clipped = np.minimum(np.maximum(array, low), high)
    squares = np.vdot(clipped, clipped)  # the fastest way to find NaN, which clipping keeps
    if squares != squares:
        raise ValueError(
            f"action {given!r} contains NaN; pass numbers (they are clipped to bounds)"
        )
    return clipped
