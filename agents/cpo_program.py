"""The step of constrained policy optimization for any number of constraints.

    max_x g . x   s.t.   c_i + b_i . x <= 0 for i = 1 .. m,   x . H x / 2 <= delta

Source: Achiam, Held, Tamar and Abbeel (2017), "Constrained policy optimization", equations 10 to
12, whose solution is x = H^-1 (g - sum_i nu_i b_i) / lambda with prices lambda, nu_i >= 0. For one
constraint it is the closed form of `agents.cpo_step`. For several it is found in coordinates y of
the span of H^-1 g and all H^-1 b_i in which the region is the unit ball and every gradient has
length 1. No unit is left there, and a violation is a share of the most that the region can change.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import daqp
import numpy as np

from agents.cpo_step import RESOLUTION, CpoCase, cpo_step

HALVINGS = 50
SOLVED = 1  # DAQP's exit flag of an optimum
TOLERANCE = 1e-12  # by which a point may be outside a half-space
SMALLEST_PRICE = math.sqrt(RESOLUTION)  # of the divergence, where the gradients have length 1
UNBOUNDED = -1e30  # DAQP's lower bound that does not bind


class PricedStep(NamedTuple):
    """A step x = along_reward H^-1 g + sum_i along_costs[i] H^-1 b_i, and the prices behind it."""

    along_reward: float
    along_costs: np.ndarray  # (m,)
    divergence_multiplier: float  # lambda
    cost_multipliers: np.ndarray  # nu, (m,), units of g per unit of b_i; infinite in a recovery
    case: CpoCase


def priced_step(products: np.ndarray, violation: np.ndarray, delta: float) -> PricedStep:
    """Return the solution of the problem above, or a recovery step where there is none.

    Differs from the paper: its recovery step (equation 14) lowers the one cost as far as possible.
    With several, the recovery takes back the same share of every violation, the largest that the
    region allows, and keeps the other costs within their limits; with one, that is equation 14.
    Going down a sum of the violated costs instead could raise one of them.

    A cost that does not depend on the step (b_i = 0) is no part of a recovery. If it is violated,
    there is no solution.

    Args:
        products: v_i . H^-1 v_j of v = g, b_1 .. b_m, (1 + m, 1 + m); up to rounding symmetric and
            positive semidefinite.
        violation: c at x = 0, (m,), feasible if <= 0, in units of b . x.
        delta: radius of the trust region, > 0.
    """
    if len(violation) == 1:
        (q, _), (r, s) = products.tolist()
        one = cpo_step(q, r, s, float(violation[0]), delta)
        multipliers = np.array([one.cost_multiplier])
        along = np.array([one.along_cost])
        return PricedStep(one.along_reward, along, one.divergence_multiplier, multipliers, one.case)
    reach = math.sqrt(2 * delta)
    lengths = np.sqrt(np.diag(products).clip(0.0))
    moves = lengths > 0.0
    scale = np.where(moves, lengths, 1.0)
    vectors = _unit_vectors(products / np.outer(scale, scale)) * moves[:, None]
    missing = np.where(violation > 0.0, math.inf, -math.inf)  # of what no step changes
    shares = np.where(moves[1:], violation / (reach * scale[1:]), missing)
    found, case = _solution(vectors[0], vectors[1:], shares)
    along = found.weights * moves * (reach / scale)
    if case is CpoCase.UNRECOVERABLE:
        return PricedStep(0.0, along[1:], math.inf, np.full(len(shares), math.inf), case)
    multipliers = found.row_prices * moves[1:] * (lengths[0] / scale[1:])
    return PricedStep(
        float(along[0]), along[1:], float(found.ball_price * lengths[0] / reach), multipliers, case
    )


class _Found(NamedTuple):
    """A point y = weights . (gain, rows), and gain = ball_price y + row_prices . rows."""

    weights: np.ndarray  # (1 + m,)
    ball_price: float  # >= 0
    row_prices: np.ndarray  # (m,), >= 0


def _solution(gain: np.ndarray, rows: np.ndarray, shares: np.ndarray) -> tuple[_Found, CpoCase]:
    """Return the maximizer of gain . y with |y| <= 1 and rows y <= -shares, or the recovery.

    Args:
        gain: (k,), of length 1 or 0.
        rows: (m, k), of length 1 or 0.
        shares: (m,), infinite where the row is 0.
    """
    weights, prices = np.zeros(1 + len(rows)), np.zeros(len(rows))
    cuts = np.flatnonzero(np.abs(shares) < 1.0)  # the half-spaces that cut the ball
    normals, bounds = rows[cuts], -shares[cuts]
    nearest = _nearest(normals, bounds, np.zeros_like(gain))
    if (shares >= 1.0).any() or nearest is None or nearest.point @ nearest.point > 1.0:
        return _Found(_recovery(rows, shares), 0.0, prices), CpoCase.UNRECOVERABLE
    case = _case(shares)
    if not gain.any():
        weights[1 + cuts] = -nearest.multipliers
        return _Found(weights, 0.0, prices), case
    if (normals @ gain <= bounds).all():
        weights[0] = 1.0
        return _Found(weights, 1.0, prices), case
    on_cuts = _highest(gain, normals, bounds, nearest.multipliers > 0.0)
    weights[0], weights[1 + cuts] = on_cuts.weights[0], on_cuts.weights[1:]
    prices[cuts] = on_cuts.row_prices
    return _Found(weights, on_cuts.ball_price, prices), case


def _case(shares: np.ndarray) -> CpoCase:
    if (shares > 0.0).any():
        return CpoCase.RECOVERABLE
    if np.isinf(shares).all():
        return CpoCase.FLAT
    return CpoCase.INSIDE if (shares <= -1.0).all() else CpoCase.CROSSING


def _highest(
    gain: np.ndarray, normals: np.ndarray, bounds: np.ndarray, active: np.ndarray
) -> _Found:
    """Return the maximizer of gain . y over |y| <= 1 and normals y <= bounds, as they cut the ball.

    For a price lambda of |y|^2 / 2 the maximizer over the polyhedron is its point nearest to gain /
    lambda, a quadratic program. The length of that point falls as lambda = tan(angle) rises, and
    bisection finds where it is 1. The planes that the point lies on then give it by a formula, the
    one of `cpo_step` for one plane.

    Args:
        gain: (k,).
        normals: (j, k).
        bounds: (j,).
        active: (j,) the planes that the polyhedron's point nearest to 0 lies on.
    """
    low, high = math.atan(SMALLEST_PRICE), 0.5 * math.pi
    for _ in range(HALVINGS):
        angle = 0.5 * (low + high)
        size = math.sin(angle)  # scales everything, for lambda is large where there is little room
        nearest = _nearest(normals, size * bounds, math.cos(angle) * gain)
        if nearest is None or nearest.point @ nearest.point > size * size:
            low = angle
        else:
            high, active = angle, nearest.multipliers > 0.0
    inverse = np.linalg.pinv(normals[active])  # (k, active)
    base = inverse @ bounds[active]  # the point of the planes nearest to 0
    in_base, in_gain = inverse.T @ base, inverse.T @ gain  # what they have of the normals
    along = gain - in_gain @ normals[active]
    price, length = math.tan(high), 1.0 / math.tan(high)
    if along @ along <= RESOLUTION and (normals @ base <= bounds + TOLERANCE).all():
        price = length = 0.0  # no use in a move along the planes
    weights, prices = np.zeros(1 + len(normals)), np.zeros(len(normals))
    weights[0] = length
    weights[1:][active] = in_base - length * in_gain
    prices[active] = (in_gain - price * in_base).clip(0.0)
    return _Found(weights, price, prices)


def _recovery(rows: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the weights of (gain, rows), (1 + m,), of the recovery step."""
    weights = np.zeros(1 + len(rows))
    used = np.flatnonzero(np.isfinite(shares) & (shares > -1.0))
    violated = shares[used].clip(0.0)
    if not violated.any():
        return weights
    worst = float(violated.max())
    low, high = 0.0, min(worst, 1.0)
    for _ in range(HALVINGS):
        level = 0.5 * (low + high)  # taken back of the worst
        bounds = np.where(violated > 0.0, -level / worst * violated, -shares[used])
        nearest = _nearest(rows[used], bounds, np.zeros(rows.shape[1]))
        if nearest is None or nearest.point @ nearest.point > 1.0:
            high = level
        else:
            low, weights[1 + used] = level, -nearest.multipliers
    return weights


class _Nearest(NamedTuple):
    point: np.ndarray  # (k,) = target - multipliers . normals
    multipliers: np.ndarray  # (j,), >= 0, 0 for planes that the point does not lie on


def _nearest(normals: np.ndarray, bounds: np.ndarray, target: np.ndarray) -> _Nearest | None:
    """Return the point with normals y <= bounds that is nearest to a target; None without one."""
    if not len(normals):
        return _Nearest(target, np.zeros(0))
    point, _, flag, details = daqp.solve(
        np.eye(len(target)),
        -target,
        np.ascontiguousarray(normals),
        bounds,
        np.full(len(bounds), UNBOUNDED),
        np.zeros(len(bounds), dtype=np.int32),
        primal_tol=TOLERANCE,
    )
    return _Nearest(point, details["lam"]) if flag == SOLVED else None


def _unit_vectors(correlations: np.ndarray) -> np.ndarray:
    """Return n vectors, (n, k), with these inner products, (n, n).

    Combinations of them that are too short to be told from rounding become 0: else the step along
    one would be noise as long as the region is wide.
    """
    values, axes = np.linalg.eigh(0.5 * (correlations + correlations.T))
    kept = values > RESOLUTION
    return axes[:, kept] * np.sqrt(values[kept])
