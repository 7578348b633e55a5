"""The nearest allowed actions, or near ones, of a batch in which every action breaks a row.

Everything takes NumPy arrays and PyTorch tensors alike; gradients are those of the projection
where it is exact, and of the repair's steps elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

import array_api_compat as api

from safe_envs.action_constraints.exact import half_space, interval
from safe_envs.action_constraints.repair import RepairSettings, constant, repair
from safe_envs.action_constraints.rows import Array, QuadraticRows, violation

SHORT = 1e-9  # a row shorter than this tells nothing of the actions
FINEST = 1e-12  # the smallest tolerance that rounding allows


def nearest_actions(
    raw: Array, rows: QuadraticRows, low: Array, high: Array, settings: RepairSettings
) -> Array:
    """Return actions that meet the rows as far as possible, within the box.

    Of a single number, and where one linear row decides, the result is the nearest allowed action.
    Where several rows decide, or a row has squares, it is found by steps and is near.

    Args:
        raw: within the box, (B, n) float64; all numbers are finite.
        rows: of the B actions, finite except for bounds.
        low: of the box, (n,).
        high: of the box, (n,).
        settings: of the steps.
    """
    xp = api.array_namespace(raw)
    if raw.shape[1] == 1 and _are_intervals(rows):
        found = interval(raw, rows, low, high).outputs
    elif rows.squares is None:
        found = _by_one_row(raw, rows, low, high, settings)
    else:
        found = _by_steps(raw, rows, low, high, settings)
    return xp.clip(found, low, high)


def worst_violation(rows: QuadraticRows, actions: Array) -> Array:
    """Return the largest violation of each instance, (B,)."""
    xp = api.array_namespace(actions)
    return xp.max(violation(rows.values(actions), rows.lower, rows.upper), axis=1)


def _are_intervals(rows: QuadraticRows) -> bool:
    """Return whether every row on one number allows a single interval."""
    if rows.squares is None:
        return True
    xp = api.array_namespace(rows.squares)
    square = rows.squares[:, :, 0]
    return not bool(xp.any((square < 0.0) | ((square != 0.0) & (rows.lower > -xp.inf))))


def _by_one_row(
    raw: Array, rows: QuadraticRows, low: Array, high: Array, settings: RepairSettings
) -> Array:
    """Return the nearest actions for the most broken linear row, where the others hold there.

    Elsewhere, where an action meets this row, `_by_steps` finds one for all rows.
    """
    xp = api.array_namespace(raw)
    normals = xp.concat([rows.linear, -rows.linear], axis=1)  # (B, 2k, n)
    bounds = xp.concat([rows.lower, -rows.upper], axis=1)
    lengths = xp.sqrt(xp.sum(normals * normals, axis=2))
    lengths = xp.where(lengths > SHORT, lengths, SHORT)
    missing = (bounds - xp.sum(normals * constant(raw)[:, None, :], axis=2)) / lengths
    most = xp.arange(raw.shape[0]), xp.argmax(missing, axis=1)
    found, feasible = half_space(raw, normals[most], bounds[most], low, high)
    left = worst_violation(rows, constant(found))
    others = feasible & (left > settings.tolerance)
    if not bool(xp.any(others)):
        return found
    stepped = _by_steps(raw, rows, low, high, settings)
    better = others & (worst_violation(rows, constant(stepped)) < left)
    return xp.where(better[:, None], stepped, found)


def _by_steps(
    raw: Array, rows: QuadraticRows, low: Array, high: Array, settings: RepairSettings
) -> Array:
    """Return the actions of `repair` for the rows and the box.

    Rows with a slope above 1 are scaled down to 1, and the tolerance with them, so that clipping
    into the box does not break them again by more than the tolerance.
    """
    xp = api.array_namespace(raw)
    count, _, size = rows.linear.shape
    squared = xp.sum(rows.jacobian(raw) ** 2, axis=2)
    slopes = xp.sqrt(xp.where(squared > 1.0, squared, 1.0))
    one = xp.broadcast_to(xp.eye(size, dtype=raw.dtype), (count, size, size))
    lows, highs = (xp.broadcast_to(side, raw.shape) for side in (low, high))
    squares = None
    if rows.squares is not None:
        squares = xp.concat([rows.squares / slopes[:, :, None], xp.zeros_like(one)], axis=1)
    scaled = QuadraticRows(
        xp.concat([rows.linear / slopes[:, :, None], one], axis=1),
        xp.concat([rows.lower / slopes, lows], axis=1),
        xp.concat([rows.upper / slopes, highs], axis=1),
        squares,
    )
    steepest = float(xp.max(constant(slopes))) * size**0.5
    narrowed = replace(settings, tolerance=max(settings.tolerance / (2.0 * steepest), FINEST))
    found = repair(raw, scaled.values, scaled.jacobian, scaled.lower, scaled.upper, narrowed)
    met = worst_violation(rows, constant(raw)) <= settings.tolerance
    return xp.where(met[:, None], raw, xp.clip(found.outputs, low, high))
