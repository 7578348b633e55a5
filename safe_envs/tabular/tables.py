"""The tables of a CMDP as users pass them: dense or sparse, with any real number type.

All become dense float64. Sparse tables are `scipy.sparse` matrices or arrays, alone or in a list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

LARGEST_FROM_SPARSE = 4 * 2**30  # [bytes] of the dense table made from a sparse one
ROW_SUM = 1e-9  # largest distance of a float64 row's sum from 1
# Shorter floats round every entry by half a unit in the last place, and round their sums, too.
ROW_SUM_OF_SHORT_FLOATS = {np.dtype(np.float16): 5e-3, np.dtype(np.float32): 1e-5}


def transition_table(given: Any) -> np.ndarray:
    """Return transition probabilities, (S, A, S) float64.

    Rows of float16 and float32 tables, whose sums are rounded, are divided by their sums.

    Args:
        given: (S, A, S) array; or a sparse (S * A, S) matrix whose row s * A + a belongs to state s
            and action a; or a list of A sparse (S, S) matrices, one per action.

    Raises:
        ValueError: if the shape is wrong, a row is not a distribution, or a sparse table is too
            large.
    """
    if _holds_sparse(given):
        table = _transitions_of_actions(list(given))
    elif issparse(given) and given.ndim == 2:
        table = _transitions_of_pairs(given)
    else:
        table = dense_table("P", given)
    if table.ndim != 3 or table.shape[0] != table.shape[2]:
        raise ValueError(f"P has shape {table.shape}; pass an array of shape (S, A, S)")
    return _distributions("P", table, _coarsest(given))


def initial_distribution(given: Any) -> np.ndarray:
    """Return the distribution of the first state, (S,) float64; as for `transition_table`.

    A sparse one may have the shape (1, S) or (S, 1), because sparse matrices have two axes.

    Raises:
        ValueError: if it is not a distribution.
    """
    table = dense_table("initial", given)
    flat = table.ravel() if issparse(given) and 1 in table.shape else table
    if flat.ndim != 1:
        raise ValueError(f"initial has shape {flat.shape}; pass an array of shape (S,)")
    return _distributions("initial", flat, _coarsest(given))


def dense_table(name: str, given: Any) -> np.ndarray:
    """Return a new dense float64 array of a dense or sparse table, or of a list of sparse ones.

    Raises:
        ValueError: if it does not hold real numbers, or a sparse table is too large.
    """
    if _holds_sparse(given):
        return _stacked(name, [dense_table(name, part) for part in given])
    if issparse(given):
        _check_memory(name, given.shape)
    try:
        array = given.toarray(order="C") if issparse(given) else np.asarray(given)
        if array.dtype.kind == "c":
            raise TypeError("its entries are complex")
        if issparse(given):  # the dense form is ours already
            return array.astype(np.float64, copy=False)
        return np.array(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not a table of real numbers ({error}); pass an array, or matrices of "
            "scipy.sparse"
        ) from None


def _transitions_of_actions(parts: Sequence[Any]) -> np.ndarray:
    shapes = [np.shape(part) for part in parts]
    states = next(part.shape[-1] for part in parts if issparse(part))
    if any(shape != (states, states) for shape in shapes):
        raise ValueError(
            f"P is a list of matrices of the shapes {shapes}; pass A sparse matrices of shape "
            "(S, S), one per action"
        )
    _check_memory("P", (states, len(parts), states))
    table = np.empty((states, len(parts), states))
    for action, part in enumerate(parts):
        table[:, action] = dense_table("P", part)
    return table


def _transitions_of_pairs(given: Any) -> np.ndarray:
    pairs, states = given.shape
    if states == 0 or pairs % states:
        raise ValueError(
            f"P is a sparse matrix of shape {given.shape}; pass one of shape (S * A, S), whose row "
            "s * A + a belongs to state s and action a, or a list of A matrices of shape (S, S)"
        )
    return dense_table("P", given).reshape(states, -1, states)


def _distributions(name: str, table: np.ndarray, tolerance: float) -> np.ndarray:
    sums = table.sum(-1)
    wrong = ~((table >= 0).all(-1) & (np.abs(sums - 1.0) <= tolerance))  # also where NaN
    if wrong.any():
        row = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"{name}[{', '.join(map(str, row))}]" if row else name
        total, least = float(sums[row]), float(table[row].min(initial=0.0))
        what = f"has the entry {least:.6g}" if least < 0 else f"sums to {total:.10g}"
        hint = ""
        if least >= 0 and abs(total - 1.0) < 1e-4:
            hint = "; if that is rounding, divide each row by its sum"
        raise ValueError(
            f"{name} does not hold probability distributions: {where} {what}; its entries must be "
            f">= 0 and sum to 1 along the last axis{hint}"
        )
    if tolerance > ROW_SUM:
        table /= sums[..., None]
    return table


def _coarsest(given: Any) -> float:
    """Return the largest distance of a row's sum from 1 that is rounding in the table's type."""
    parts = list(given) if _holds_sparse(given) else [given]
    types = [part.dtype if issparse(part) else np.asarray(part).dtype for part in parts]
    return max(ROW_SUM_OF_SHORT_FLOATS.get(each, ROW_SUM) for each in types)


def _holds_sparse(given: Any) -> bool:
    """Return whether this is a list, a tuple or an object array with sparse matrices."""
    several = isinstance(given, list | tuple) or (
        isinstance(given, np.ndarray) and given.dtype == object and given.ndim == 1
    )
    return several and any(issparse(part) for part in given)


def _stacked(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    shapes = [part.shape for part in parts]
    if len(set(shapes)) > 1:
        raise ValueError(f"{name} is a list of tables of the shapes {shapes}; pass equal shapes")
    return np.stack(parts)


def _check_memory(name: str, shape: tuple[int, ...]) -> None:
    size = 8 * math.prod(int(length) for length in shape)
    if size > LARGEST_FROM_SPARSE:
        raise ValueError(
            f"{name} is sparse, but is stored as a dense float64 array of shape {shape}, which "
            f"takes {size / 2**30:,.1f} GiB; the limit for a sparse table is "
            f"{LARGEST_FROM_SPARSE / 2**30:g} GiB; merge states, or pass a dense array if you have "
            "the memory"
        )
