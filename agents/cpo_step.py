"""The step of constrained policy optimization: a linear objective, a half-space and a ball.

    max_x g . x   s.t.   c + b . x <= 0,   x . H x / 2 <= delta

Source: Achiam, Held, Tamar and Abbeel (2017), "Constrained policy optimization", equations 11 to
14 and theorem 2 of the appendix. The theorem minimizes and bounds x . H x: its g is -g here, and
its delta is 2 delta.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

RESOLUTION = 1e-6  # of inner products, relative: the vectors are solutions in single precision


class CpoCase(IntEnum):
    """Where the half-space c + b . x <= 0 lies relative to the trust region around x = 0."""

    UNRECOVERABLE = 0  # they do not meet: reduce the cost, whatever the reward
    RECOVERABLE = 1  # x = 0 is outside the half-space, which reaches into the region
    CROSSING = 2  # x = 0 is inside, parts of the region are not
    INSIDE = 3  # all of the region is inside
    FLAT = 4  # the cost does not depend on x to first order


class CpoStep(NamedTuple):
    """A step x = along_reward H^-1 g + along_cost H^-1 b, and the prices that lead to it.

    With finite prices, x = H^-1 (g - cost_multiplier b) / divergence_multiplier.
    """

    along_reward: float
    along_cost: float
    divergence_multiplier: float  # lambda
    cost_multiplier: float  # nu, in units of g per unit of b; infinite in a recovery step
    case: CpoCase


def cpo_step(q: float, r: float, s: float, c: float, delta: float) -> CpoStep:
    """Return the solution of the problem above, or the recovery step where there is none.

    The natural gradient step sqrt(2 delta / q) H^-1 g is the solution, with nu = 0, if it is in
    the half-space. If not, the solution is on the plane c + b . x = 0,

        x = -(c/s) H^-1 b + sqrt(B/A) (H^-1 g - (r/s) H^-1 b),

    A = q - r^2/s, B = 2 delta - c^2/s, with lambda = sqrt(A/B) and nu = (r + lambda c)/s. If the
    plane is out of reach, that is B <= 0 and c > 0, the step is the recovery,
    -sqrt(2 delta / s) H^-1 b (equation 14).

    Differs from the paper: the paper distinguishes the cases by comparing two values of the dual
    function. Testing whether the natural gradient step is feasible is equivalent, and also works
    where g and b are parallel, A = 0, and the dual's lambda is 0. They count as parallel up to
    A = 1e-6 q: beyond the plane the step would follow the rounding of single precision. Where the
    cost is too high and does not depend on x at all, there is no recovery and the step is 0.

    Args:
        q: g . H^-1 g >= 0.
        r: g . H^-1 b.
        s: b . H^-1 b >= 0.
        c: violation of the constraint at x = 0, feasible if <= 0, in units of b . x.
        delta: radius of the trust region, > 0.
    """
    case = _case(s, c, delta)
    if case is CpoCase.UNRECOVERABLE:
        along_cost = -math.sqrt(2 * delta / s) if s > 0 else 0.0
        return CpoStep(0.0, along_cost, math.inf, math.inf, case)
    length = math.sqrt(2 * delta / q) if q > 0 else 0.0
    if case in (CpoCase.INSIDE, CpoCase.FLAT) or c + length * r <= 0:
        return CpoStep(length, 0.0, math.sqrt(q / (2 * delta)), 0.0, case)
    across = q - r * r / s  # A
    beyond = max(2 * delta - c * c / s, 0.0)  # B
    if across <= RESOLUTION * q or beyond == 0.0:  # no use in a move along the plane, or no room
        return CpoStep(0.0, -c / s, 0.0, max(r / s, 0.0), case)
    lam = math.sqrt(across / beyond)
    return CpoStep(1 / lam, -(c + r / lam) / s, lam, (r + lam * c) / s, case)


def _case(s: float, c: float, delta: float) -> CpoCase:
    if s <= 0:
        return CpoCase.FLAT if c <= 0 else CpoCase.UNRECOVERABLE
    out_of_reach = c * c >= 2 * delta * s  # B <= 0
    if c > 0:
        return CpoCase.UNRECOVERABLE if out_of_reach else CpoCase.RECOVERABLE
    return CpoCase.INSIDE if out_of_reach else CpoCase.CROSSING
