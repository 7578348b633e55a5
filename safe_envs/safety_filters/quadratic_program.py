"""The filter's quadratic program: the action nearest to a reference that meets linear rows.

    minimize    1/2 (u - u_ref)' W (u - u_ref) - g'(u - u_ref) + 1/2 rho eps^2   over u, eps
    subject to  a_i'u / |a_i| + eps >= b_i / |a_i|,   low <= u <= high,   eps >= 0

Source: Lin and Xu, "Curvature-Guided Safety Filters" (arXiv 2602.12603), equation 5 with the slack
of its section V. One slack for all rows, rows of length one, trace(W) = m and the penalty rho are
this project's choices; with them the program always has a solution, and one penalty suits rows of
any scale. Where one row alone decides, the solution is a formula, `nearest_on_row`; otherwise DAQP
finds it (Arnstroem, Bemporad and Axehill, IEEE TAC 2022).
"""

from __future__ import annotations

import math
from functools import reduce
from operator import add, gt, lt, mul, sub
from typing import Any, NamedTuple

import daqp
import numpy as np
from scipy.optimize import nnls

from safe_envs.contract.argument_checks import check_positive, checked_array

SLACK_WEIGHT = 1e4  # rho
NO_AUTHORITY = 1e-6  # rows shorter than this are divided by it: the action hardly moves them
SOLVED = 1  # DAQP's exit flag of an optimum
PRIMAL_TOLERANCE = 1e-9
INFINITE = 1e30  # DAQP's bound that does not bind
ROW_TOLERANCE = 1e-12  # by which the formula may break other rows
SYMMETRY_TOLERANCE = 1e-9
DEFINITE_TOLERANCE = 1e-12
STATUSES = ("kept", "solved", "fallback", "failed")  # how an action was found, see `solve`


class Projection(NamedTuple):
    """The action that leaves the filter."""

    action: np.ndarray  # u, (m,)
    slack: float  # eps, in units of the action; 0 if all rows are met
    active: bool  # whether the reference broke a row or a bound
    status: str  # one of STATUSES, see `solve`


class Assembled(NamedTuple):
    """Minimize 1/2 z'Hz + f'z over z with lower <= (z, rows z) <= upper."""

    hessian: np.ndarray  # H, (n, n)
    linear: np.ndarray  # f, (n,)
    rows: np.ndarray  # (k, n)
    lower: np.ndarray  # (n + k,)
    upper: np.ndarray  # (n + k,)


class Weight(NamedTuple):
    """A metric prepared for the program."""

    hessian: np.ndarray  # blockdiag(W, rho), (m + 1, m + 1), with trace(W) = m
    inverse: tuple[tuple[float, ...], ...]  # of W with trace m, (m, m)
    scale: float  # what the metric was multiplied by; a gradient is multiplied by it too


def weight_of(metric: np.ndarray, slack_weight: float = SLACK_WEIGHT) -> Weight:
    """Return the metric (m, m) with trace m, together with the slack weight.

    Raises:
        ValueError: if the metric is not a symmetric, positive definite matrix of finite numbers, or
            the slack weight is not positive.
    """
    matrix = np.asarray(metric, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"the metric has shape {matrix.shape}; pass a square matrix (m, m)")
    if not np.isfinite(matrix).all():
        raise ValueError(f"the metric contains NaN or infinite entries: {matrix.tolist()}")
    if np.abs(matrix - matrix.T).max() > SYMMETRY_TOLERANCE * np.abs(matrix).max():
        raise ValueError(
            f"the metric is not symmetric: {matrix.tolist()}; pass (W + W.T) / 2 if that is meant"
        )
    eigenvalues = np.linalg.eigvalsh(matrix)
    if eigenvalues[0] <= DEFINITE_TOLERANCE * eigenvalues[-1]:
        raise ValueError(
            f"the metric is not positive definite, its eigenvalues are {eigenvalues.tolist()}; "
            "raise the small ones with safe_envs.safety_filters.floored"
        )
    check_positive(slack_weight=slack_weight)
    return trusted_weight(matrix, slack_weight)


def trusted_weight(metric: np.ndarray, slack_weight: float = SLACK_WEIGHT) -> Weight:
    """Return `weight_of` a metric known to be symmetric and positive definite."""
    count = len(metric)
    scale = count / float(metric.trace())
    hessian = np.zeros((count + 1, count + 1))
    hessian[:count, :count] = scale * metric
    hessian[count, count] = slack_weight
    inverse = np.linalg.inv(hessian[:count, :count])
    return Weight(hessian, tuple(map(tuple, inverse.tolist())), scale)


def project(
    metric: np.ndarray,
    reference: np.ndarray,
    rows: np.ndarray,
    bounds: np.ndarray,
    low: np.ndarray | float,
    high: np.ndarray | float,
    slack_weight: float = SLACK_WEIGHT,
    gradient: np.ndarray | None = None,
) -> Projection:
    """Return the solution of the module's program, with all arguments checked.

    Args:
        metric: W, (m, m), symmetric and positive definite; only its direction matters, not its
            scale.
        reference: u_ref, (m,).
        rows: A, (k, m); the action has to meet A u >= b. k may be 0.
        bounds: b, (k,).
        low: lower bound of the action, (m,) or a number.
        high: upper bound of the action, (m,) or a number.
        slack_weight: rho.
        gradient: g, (m,), of the value at the reference, in the metric's unit; None is 0.

    Returns:
        The reference itself if it meets all rows and bounds, whatever the gradient.

    Raises:
        ValueError: if an argument has the wrong shape or is not finite, the metric is not positive
            definite, or a lower bound exceeds an upper one.
    """
    weight = weight_of(metric, slack_weight)
    count = len(weight.hessian) - 1
    reference = checked_array("reference", reference, (count,))
    rows, bounds = checked_rows(rows, bounds, count)
    lows = checked_array("low", np.broadcast_to(low, (count,)), (count,))
    highs = checked_array("high", np.broadcast_to(high, (count,)), (count,))
    if (lows > highs).any():
        raise ValueError(f"low {lows.tolist()} exceeds high {highs.tolist()}; swap them")
    if gradient is not None:
        gradient = checked_array("gradient", gradient, (count,))
    return solve(weight, reference, rows, bounds, lows, highs, gradient)


def solve(
    weight: Weight,
    reference: np.ndarray,
    rows: np.ndarray,
    bounds: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    gradient: np.ndarray | None = None,
) -> Projection:
    """Return the solution of the module's program for arguments that are already checked.

    The status says how it was found:
    - "kept": the reference meets all rows and bounds and is returned;
    - "solved": the formula or DAQP found the optimum;
    - "fallback": DAQP reported a failure, and a non-negative least-squares solver found it;
    - "failed": both failed; the action is the reference clipped into its bounds, and the slack is
      the largest amount by which it breaks a row.
    """
    missing = bounds - rows.dot(reference)
    amounts: list[float] = missing.tolist()
    start, lows, highs = reference.tolist(), low.tolist(), high.tolist()
    inside = _all_within(start, lows, highs)
    if inside and max(amounts, default=0.0) <= 0.0:
        return Projection(reference, 0.0, False, "kept")
    if inside and gradient is None:
        found = _nearest_if_one_row_decides(weight, start, rows, amounts, lows, highs)
        if found is not None:
            return found
    return _nearest(weight, reference, rows, missing, low, high, gradient)


def improve(
    weight: Weight,
    start: np.ndarray,
    rows: np.ndarray,
    bounds: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    gradient: np.ndarray,
) -> Projection:
    """Return the solution of the module's program even where the starting action is safe.

    This is a Newton step on a value with this gradient and curvature, within rows and bounds. The
    arguments are those of `solve`, already checked; the statuses are those of `solve` without
    "kept".
    """
    return _nearest(weight, start, rows, bounds - rows.dot(start), low, high, gradient)


def _nearest(
    weight: Weight,
    reference: np.ndarray,
    rows: np.ndarray,
    missing: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    gradient: np.ndarray | None,
) -> Projection:
    """Return the program's solution by DAQP; missing = b - A u_ref, (k,)."""
    count = len(reference)
    program = assembled(weight, reference, rows, missing, low, high, gradient)
    change, status = solve_assembled(program)
    if change is None:
        clipped = np.minimum(np.maximum(reference, low), high)
        short = program.lower[count + 1 :] - program.rows[:, :count] @ (clipped - reference)
        return Projection(clipped, float(np.max(short, initial=0.0)), True, status)
    action = np.minimum(np.maximum(reference + change[:count], low), high)
    return Projection(action, max(float(change[count]), 0.0), True, status)


def assembled(
    weight: Weight,
    reference: np.ndarray,
    rows: np.ndarray,
    missing: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    gradient: np.ndarray | None,
) -> Assembled:
    """Return the program of z = (u - u_ref, eps), rows at length one; missing = b - A u_ref."""
    count, total = len(reference), len(reference) + 1
    lengths = np.maximum(np.sqrt((rows * rows).sum(axis=1)), NO_AUTHORITY)
    matrix = np.ones((len(rows), total))
    np.divide(rows, lengths[:, None], out=matrix[:, :count])
    lower = np.zeros(total + len(rows))
    np.subtract(low, reference, out=lower[:count])
    np.divide(missing, lengths, out=lower[total:])
    upper = np.full(total + len(rows), INFINITE)
    np.subtract(high, reference, out=upper[:count])
    linear = np.zeros(total)
    if gradient is not None:
        linear[:count] = -weight.scale * gradient
    return Assembled(weight.hessian, linear, matrix, lower, upper)


def nearest_on_row(weight: Weight, row: list[Any], missing: Any) -> tuple[list[Any], Any]:
    """Return u - u_ref (m) and eps of the program with one row alone and no bounds.

        lam = missing / (a' W^-1 a + 1 / rho),   u - u_ref = lam W^-1 a,   eps = lam / rho

    Entries are floats, or arrays of as many numbers as there are programs.

    Args:
        weight: W and rho.
        row: a of length one, m entries.
        missing: b - a'u_ref > 0.
    """
    image = [dot(line, row) for line in weight.inverse]
    softness = 1.0 / float(weight.hessian[-1, -1])
    multiplier = missing / (dot(image, row) + softness)
    return [multiplier * entry for entry in image], multiplier * softness


def dot(first: Any, second: Any) -> Any:
    """Return the sum of products, added from left to right; floats and arrays give equal bits."""
    return reduce(add, map(mul, first, second))


def _all_within(point: list[float], lows: list[float], highs: list[float]) -> bool:
    return not (any(map(lt, point, lows)) or any(map(gt, point, highs)))


def _nearest_if_one_row_decides(
    weight: Weight,
    reference: list[float],
    rows: np.ndarray,
    missing: list[float],
    low: list[float],
    high: list[float],
) -> Projection | None:
    """Return the solution if it is that of the most broken row alone.

    It is, if it meets all other rows and the bounds: adding constraints that it meets leaves no
    point nearer. Plain floats are faster here than arrays of a few numbers.

    Args:
        weight: W and rho.
        reference: within the bounds, m entries.
        rows: A, (k, m).
        missing: b - A u_ref, k entries, some of them above 0.
        low: m entries.
        high: m entries.
    """
    matrix: list[list[float]] = rows.tolist()
    broken = [i for i, amount in enumerate(missing) if amount > 0.0]
    lengths = [max(math.sqrt(dot(matrix[i], matrix[i])), NO_AUTHORITY) for i in broken]
    shares = [missing[i] / length for i, length in zip(broken, lengths, strict=True)]
    place = shares.index(max(shares))
    worst, length = broken[place], lengths[place]
    row = [entry / length for entry in matrix[worst]]
    change, slack = nearest_on_row(weight, row, shares[place])
    action = list(map(add, reference, change))
    if not _all_within(action, low, high):
        return None
    met = rows.dot(np.array(change)).tolist()  # A (u - u_ref)
    for i, short in enumerate(map(sub, missing, met)):
        if short > 0.0 and i != worst:
            own = max(math.sqrt(dot(matrix[i], matrix[i])), NO_AUTHORITY)
            if short / own > slack + ROW_TOLERANCE:
                return None
    return Projection(np.array(action), slack, True, "solved")


def checked_rows(rows: Any, bounds: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (k, count) and bounds (k,) as finite arrays.

    Raises:
        ValueError: if the shapes do not fit or an entry is not finite.
    """
    matrix = np.asarray(rows, dtype=np.float64)
    vector = np.asarray(bounds, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != count or vector.shape != (len(matrix),):
        raise ValueError(
            f"rows have shape {matrix.shape} and bounds {vector.shape}; pass (k, {count}) and (k,)"
        )
    if not (np.isfinite(matrix).all() and np.isfinite(vector).all()):
        raise ValueError(
            f"rows {matrix.tolist()} or bounds {vector.tolist()} contain NaN or infinite entries; "
            "leave out rows that never bind"
        )
    return matrix, vector


def solve_assembled(program: Assembled) -> tuple[np.ndarray | None, str]:
    """Return z, or None, and how it was found: "solved", "fallback" or "failed"."""
    hessian, linear, rows, lower, upper = program
    sense = np.zeros(len(lower), dtype=np.int32)
    solution, value, flag, _ = daqp.solve(
        hessian, linear, rows, upper, lower, sense, primal_tol=PRIMAL_TOLERANCE
    )
    if flag == SOLVED and math.isfinite(value):
        return solution, "solved"
    try:
        return least_distance(hessian, linear, rows, lower, upper), "fallback"
    except (RuntimeError, ArithmeticError, np.linalg.LinAlgError):
        return None, "failed"


def least_distance(
    hessian: np.ndarray, linear: np.ndarray, rows: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Return the minimizer of 1/2 z'Hz + f'z with lower <= (z, rows z) <= upper, slowly.

    With H = L L', y = L'z + L^-1 f it is the shortest y with G y >= h, which is the residual of a
    non-negative least-squares problem (Lawson and Hanson, Solving Least Squares Problems, chapter
    23, problem LDP).

    Raises:
        ArithmeticError: if no z meets the bounds.
        RuntimeError: if the least-squares solver does not converge.
    """
    factor = np.linalg.cholesky(hessian)  # L
    shift = np.linalg.solve(factor, linear)  # L^-1 f
    stacked = np.vstack([np.eye(len(hessian)), rows])
    below, above = lower > -INFINITE, upper < INFINITE
    g = np.vstack([stacked[below], -stacked[above]])
    g = np.linalg.solve(factor, g.T).T  # of y
    h = np.concatenate([lower[below], -upper[above]]) + g @ shift
    target = np.zeros(len(hessian) + 1)
    target[-1] = 1.0
    system = np.vstack([g.T, h])
    weights, distance = nnls(system, target, maxiter=50 * system.shape[1])
    residual = system @ weights - target
    if distance < 1e-12:
        raise ArithmeticError("no point meets the bounds")
    y = -residual[:-1] / residual[-1]
    return np.linalg.solve(factor.T, y - shift)
