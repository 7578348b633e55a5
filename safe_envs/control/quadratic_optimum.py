"""An optimum of one instance of a quadratic family, by SciPy's SLSQP, and a proof that it is one.

The equalities are solved first: y = A+ x + Z u with A Z = 0. What is left is

    minimize f(A+ x + Z u) over u   subject to   squares_i . y^2 + G_i . y <= h_i,

with exact derivatives. What SLSQP returns counts if it meets the first-order (KKT) conditions: it
is feasible, and the gradient of f is a combination with weights >= 0 of the negative gradients of
the rows that are tight (Nocedal and Wright, "Numerical Optimization", theorem 12.1). If f is
convex, that makes it the optimum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, nnls

from safe_envs.control.quadratic_families import QuadraticFamily

FEASIBILITY = 1e-8  # largest violation of a row
STATIONARITY = 1e-5  # largest entry of what is left of the gradient, as a share of the gradient
TIGHT = 1e-6  # a row with less slack can carry a weight
PRECISION = 1e-13  # of f, at which SLSQP stops
MAX_ITERATIONS = 1_000


class LocalOptimum(NamedTuple):
    """A point that meets the first-order conditions."""

    outputs: np.ndarray  # y, (n,)
    value: float  # f(y)


def local_optimum(
    family: QuadraticFamily, x: np.ndarray, start: np.ndarray | None = None
) -> LocalOptimum:
    """Return an optimum of one instance; the global one if the family is convex.

    Args:
        family: of the instance.
        x: parameters, (m,).
        start: u to start from, (n - m,); None for u = 0, y = A+ x.

    Raises:
        RuntimeError: if SLSQP ends at a point that violates a row by more than 1e-8, or that does
            not meet the first-order conditions.
    """
    shortest, across = family.shortest(x[None])[0], family.null_space

    def outputs(u: np.ndarray) -> np.ndarray:
        return shortest + across @ u

    def value(u: np.ndarray) -> float:
        return float(family.objective(outputs(u)[None])[0])

    def slope(u: np.ndarray) -> np.ndarray:
        return family.gradient(outputs(u)[None])[0] @ across

    def slacks(u: np.ndarray) -> np.ndarray:
        return -_inequalities(family, outputs(u))

    def slack_slopes(u: np.ndarray) -> np.ndarray:
        return -_inequality_slopes(family, outputs(u)) @ across

    found = minimize(
        value,
        np.zeros(across.shape[1]) if start is None else start,
        method="SLSQP",
        jac=slope,
        constraints={"type": "ineq", "fun": slacks, "jac": slack_slopes},
        options={"ftol": PRECISION, "maxiter": MAX_ITERATIONS},
    )
    y = outputs(found.x)
    violation = max(
        float(_inequalities(family, y).max()), float(np.abs(family.equalities @ y - x).max())
    )
    left, whole = unbalanced_gradient(family, y)
    if not (violation <= FEASIBILITY and left <= STATIONARITY * whole):
        raise RuntimeError(
            f"no optimum was found at x = {x.tolist()}: SLSQP ended with {found.message!r}, a "
            f"violation of {violation:.1e} (allowed: {FEASIBILITY:g}) and {left:.1e} of the "
            f"gradient's {whole:.1e} left over (allowed: the share {STATIONARITY:g}); x may have "
            "no feasible y, or another start may help"
        )
    return LocalOptimum(y, value(found.x))


def unbalanced_gradient(family: QuadraticFamily, outputs: np.ndarray) -> tuple[float, float]:
    """Return what the tight rows leave of the gradient along A y = x, and its size without them.

    Both are the largest entry in coordinates u. The first is 0 at an optimum.

    Args:
        family: of the instance.
        outputs: y, (n,), feasible.
    """
    gradient = family.gradient(outputs[None])[0]
    along = gradient @ family.null_space
    tight = _inequalities(family, outputs) > -TIGHT
    normals = _inequality_slopes(family, outputs)[tight] @ family.null_space
    weights = nnls(normals.T, -along)[0] if tight.any() else np.zeros(0)
    return float(np.abs(along + weights @ normals).max()), float(np.abs(gradient).max())


def _inequalities(family: QuadraticFamily, outputs: np.ndarray) -> np.ndarray:
    """Return squares . y^2 + G . y - h, (k,), <= 0 where they are met."""
    values = family.inequalities @ outputs - family.bounds
    return values if family.squares is None else values + family.squares @ (outputs * outputs)


def _inequality_slopes(family: QuadraticFamily, outputs: np.ndarray) -> np.ndarray:
    """Return the derivatives of the inequalities in y, (k, n)."""
    if family.squares is None:
        return family.inequalities
    return family.inequalities + 2.0 * family.squares * outputs
