"""Exact repairs in closed form: the nearest output in a box and a half-space, or in an interval.

    half-space:  argmin |u - raw|  over u with a'u >= b, low <= u <= high
                 u = clip(raw + t a),  t >= 0 the root of the nondecreasing, piecewise linear
                 a'clip(raw + t a) = b
    interval:    clip(raw, lower, upper), from rows alpha u^2 + beta u <= gamma of a single output

Everything takes NumPy arrays and PyTorch tensors alike, of B instances; gradients are those of the
projection, wherever it has one.
"""

from __future__ import annotations

from typing import NamedTuple

import array_api_compat as api

from safe_envs.action_constraints.repair import constant
from safe_envs.action_constraints.rows import Array, QuadraticRows


class Exact(NamedTuple):
    """The nearest outputs, and whether a feasible one exists."""

    outputs: Array  # (B, n)
    feasible: Array  # (B,)


def half_space(raw: Array, normal: Array, bound: Array, low: Array, high: Array) -> Exact:
    """Return the nearest outputs with normal . u >= bound within the box.

    Where the box has none, the output has the largest normal . u in it, and is nearest to `raw`
    among those. NaN stays NaN and is not feasible.

    Args:
        raw: (B, n).
        normal: a, (B, n).
        bound: b, (B,); -inf for no bound.
        low: finite, (n,).
        high: finite, (n,).

    Raises:
        ValueError: if a side of the box is not finite.
    """
    xp = api.array_namespace(raw)
    if not bool(xp.all(xp.isfinite(low) & xp.isfinite(high))):
        raise ValueError(f"the box goes from {low} to {high}; both have to be finite")
    # Where the line raw + t a meets the box's sides: the slope of a'clip(raw + t a) changes there.
    fixed = constant(raw)
    moves = normal != 0.0
    safe = xp.where(moves, normal, xp.ones_like(normal))
    sides = xp.concat([(low - fixed) / safe, (high - fixed) / safe], axis=-1)  # (B, 2n)
    sides = xp.where(xp.concat([moves, moves], axis=-1), sides, xp.zeros_like(sides))
    kinks = xp.sort(xp.where(sides > 0.0, sides, xp.zeros_like(sides)), axis=-1)
    points = xp.clip(fixed[:, None, :] + kinks[:, :, None] * normal[:, None, :], low, high)
    reached = xp.sum(points * normal[:, None, :], axis=-1)  # (B, 2n), nondecreasing
    before = xp.sum(xp.astype(reached < bound[:, None], xp.int64), axis=-1)
    place = xp.where(before > 0, before - 1, before)[:, None]  # the last kink before the root
    start = xp.take_along_axis(kinks, place, axis=-1)
    after = xp.where(before < kinks.shape[1], before, before - 1)[:, None]
    middle = 0.5 * (start + xp.take_along_axis(kinks, after, axis=-1))
    # On the root's segment the same entries are inside the box: t solves a linear equation.
    line = fixed + middle * normal
    inside = (line > low) & (line < high) & moves
    resting = xp.clip(line, low, high)  # of the entries at a side
    weight = xp.where(inside, normal, xp.zeros_like(normal))
    others = xp.where(inside, xp.zeros_like(normal), normal * constant(resting))
    size = xp.sum(weight * weight, axis=-1)
    clipped = xp.clip(raw, low, high)
    met = xp.sum(normal * constant(clipped), axis=-1) >= bound
    feasible = met | (reached[:, -1] >= bound)
    needed = bound - xp.sum(weight * raw, axis=-1) - xp.sum(others, axis=-1)
    needed = xp.where(feasible & ~met, needed, xp.zeros_like(needed))  # bounds may be infinite
    t = needed / xp.where(size > 0.0, size, xp.ones_like(size))
    solved = xp.clip(raw + t[:, None] * normal, low, high)
    furthest = xp.where(moves, xp.clip(fixed + kinks[:, -1:] * normal, low, high), clipped)
    found = xp.where(feasible[:, None], solved, furthest)
    found = xp.where(met[:, None], clipped, found)
    return Exact(found, feasible)


def interval(raw: Array, rows: QuadraticRows, low: Array, high: Array) -> Exact:
    """Return the nearest outputs that meet rows on a single number, within [low, high].

    Where none does, the output is where the curved rows that are met nowhere have their least
    value, if there are any; else the middle of the gap between the rows' intervals, or the nearest
    one that meets all rows but those that no output changes; clipped into [low, high].

    Args:
        raw: (B, 1).
        rows: on one output. A row with a square needs squares > 0 and no lower bound, so that
            what it allows is an interval.
        low: (1,).
        high: (1,).

    Raises:
        ValueError: for rows on several outputs, or a row that allows more than one interval.
    """
    xp = api.array_namespace(raw)
    if raw.shape[-1] != 1:
        raise ValueError(f"the outputs have {raw.shape[-1]} numbers; an interval has one")
    starts, ends, least, empty = _intervals(rows)
    start = xp.maximum(xp.max(starts, axis=-1, keepdims=True), low)
    end = xp.minimum(xp.min(ends, axis=-1, keepdims=True), high)
    feasible = (start <= end)[:, 0] & ~xp.any(empty, axis=-1)
    bowls = empty & xp.isfinite(least)  # with a place where they are broken least
    count = xp.sum(xp.astype(bowls, raw.dtype), axis=-1, keepdims=True)
    lowest = xp.sum(xp.where(bowls, least, xp.zeros_like(least)), axis=-1, keepdims=True)
    lowest = lowest / xp.where(count > 0, count, xp.ones_like(count))
    nearest = xp.minimum(xp.maximum(raw, start), end)
    between = xp.where(start <= end, nearest, 0.5 * (start + end))
    fallback = xp.clip(xp.where(count > 0, lowest, between), low, high)
    return Exact(xp.where(feasible[:, None], nearest, fallback), feasible & ~xp.isnan(raw)[:, 0])


def _intervals(rows: QuadraticRows) -> tuple[Array, Array, Array, Array]:
    """Return start, end, the place of the least value (or infinity) and emptiness, all (B, k)."""
    xp = api.array_namespace(rows.linear)
    beta, lower, upper = rows.linear[:, :, 0], rows.lower, rows.upper
    alpha = xp.zeros_like(beta) if rows.squares is None else rows.squares[:, :, 0]
    curved = alpha != 0.0
    if bool(xp.any((alpha < 0.0) | (curved & (lower > -xp.inf)))):
        raise ValueError(
            "a row has a negative square, or a square and a lower bound, so that it may allow "
            "two intervals; use the repair by Levenberg-Marquardt steps"
        )
    shape = xp.broadcast_arrays(beta, lower)[0].shape
    alpha, beta, lower, upper, curved = (
        xp.broadcast_to(one, shape) for one in (alpha, beta, lower, upper, curved)
    )
    one, nothing = xp.ones_like(beta), xp.zeros_like(beta)
    # alpha u^2 + beta u <= upper: center +- root
    scale = xp.where(curved, alpha, one)
    center = -beta / (2.0 * scale)
    square = center * center + upper / scale
    root = xp.sqrt(xp.where(square > 0.0, square, nothing))
    # lower <= beta u <= upper
    sloped = beta != 0.0
    slope = xp.where(sloped, beta, one)
    at_lower, at_upper = lower / slope, upper / slope
    everywhere = xp.full_like(beta, xp.inf)
    start = xp.where(slope > 0.0, at_lower, at_upper)
    end = xp.where(slope > 0.0, at_upper, at_lower)
    start = xp.where(sloped, start, -everywhere)
    end = xp.where(sloped, end, everywhere)
    level = ~curved & ~sloped & ((lower > 0.0) | (upper < 0.0))
    empty = (curved & ~(square >= 0.0)) | level | (lower > upper)
    start = xp.where(curved, center - root, start)
    end = xp.where(curved, center + root, end)
    return start, end, xp.where(curved, center, everywhere), empty
