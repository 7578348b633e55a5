"""Families of parametric programs: find y with least f(y) subject to equalities that depend on x.

    minimize    f(y) = 1/2 sum_j curvature_j y_j^2 + slope . y      (or slope . sin(y))
    subject to  A y = x,   squares_i . y^2 + G_i . y <= h_i

A family has one f, A, G and h; an instance is an x, drawn uniformly from a box. h is chosen so that
y = A+ x, the shortest solution of the equalities, meets the inequalities for every x drawn.

Sources: Donti, Rolnick and Kolter, "DC3" (arXiv 2104.12225): `dc3`; Chu, Boukas and Udell,
"SnareNet" (arXiv 2602.09317): `snarenet`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import array_api_compat as api
import numpy as np

from safe_envs.action_constraints.rows import Array, QuadraticRows
from safe_envs.contract.argument_checks import check_count

NUM_INSTANCES = 10_000
SPLIT = 1.0 / 12.0  # share of the instances for validation, and for testing


@dataclass(frozen=True, eq=False)
class QuadraticFamily:
    """One family of programs; all arrays are float64.

    Args:
        curvature: of the objective, (n,).
        slope: of the objective, (n,).
        sine: whether the objective has slope . sin(y), which is not convex.
        equalities: A, (m, n), with full row rank.
        inequalities: G, (k, n).
        bounds: h, (k,).
        instances: every x of the data set, (N, m).
        squares: (k, n); None if the inequalities are linear.
    """

    curvature: np.ndarray
    slope: np.ndarray
    sine: bool
    equalities: np.ndarray
    inequalities: np.ndarray
    bounds: np.ndarray
    instances: np.ndarray
    squares: np.ndarray | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of outputs n, equalities m and inequalities k."""
        return (*self.equalities.shape[::-1], len(self.bounds))

    @cached_property
    def pseudoinverse(self) -> np.ndarray:
        """A+, (n, m)."""
        return np.linalg.pinv(self.equalities)

    @cached_property
    def null_space(self) -> np.ndarray:
        """Z, (n, n - m), with A Z = 0 and Z'Z = I."""
        return np.linalg.svd(self.equalities)[2][len(self.equalities) :].T.copy()

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """The instances for "training", "validation" and "testing", in the order of the data."""
        held = int(len(self.instances) * SPLIT)
        first, second = len(self.instances) - 2 * held, len(self.instances) - held
        ranges = {"training": (0, first), "validation": (first, second), "testing": (second, None)}
        return {name: self.instances[slice(*ends)] for name, ends in ranges.items()}

    def objective(self, outputs: Array) -> Array:
        """Return f, (B,), at outputs (B, n)."""
        xp = api.array_namespace(outputs)
        bent = xp.sin(outputs) if self.sine else outputs
        curvature, slope = (like(outputs, one) for one in (self.curvature, self.slope))
        return 0.5 * (outputs * outputs) @ curvature + bent @ slope

    def gradient(self, outputs: Array) -> Array:
        """Return df/dy, (B, n), at outputs (B, n)."""
        xp = api.array_namespace(outputs)
        curvature, slope = (like(outputs, one) for one in (self.curvature, self.slope))
        bend = xp.cos(outputs) if self.sine else xp.ones_like(outputs)
        return curvature * outputs + slope * bend

    def rows(self, x: Array) -> QuadraticRows:
        """Return the k inequalities, then the m equalities, at parameters (B, m)."""
        xp = api.array_namespace(x)
        n, m, k = self.sizes
        linear = like(x, np.concatenate([self.inequalities, self.equalities]))[None]
        upper = xp.concat([xp.broadcast_to(like(x, self.bounds), (len(x), k)), x], axis=-1)
        nothing = xp.full_like(upper[:, :k], -xp.inf)
        squares = None
        if self.squares is not None:
            squares = like(x, np.concatenate([self.squares, np.zeros((m, n))]))[None]
        return QuadraticRows(linear, xp.concat([nothing, x], axis=-1), upper, squares)

    def shortest(self, x: Array) -> Array:
        """Return A+ x, (B, n), which is feasible."""
        return x @ like(x, self.pseudoinverse.T)


def dc3(
    n: int = 100, m: int = 50, k: int = 50, sine: bool = False, seed: int = 17
) -> QuadraticFamily:
    """Return DC3's family with linear inequalities; seed 17 gives its published data.

    Args:
        n: outputs.
        m: equalities.
        k: inequalities.
        sine: the "nonconvex" family of the paper, instead of its "simple" one.
        seed: of NumPy's legacy generator, which the paper used.
    """
    check_count(n=n, m=m, k=k)
    rng = np.random.RandomState(seed)
    curvature, slope = rng.random_sample(n), rng.random_sample(n)
    equalities = rng.normal(size=(m, n))
    instances = rng.uniform(-1.0, 1.0, size=(NUM_INSTANCES, m))
    inequalities = rng.normal(size=(k, n))
    bounds = np.abs(inequalities @ np.linalg.pinv(equalities)).sum(axis=1)
    return QuadraticFamily(curvature, slope, sine, equalities, inequalities, bounds, instances)


def snarenet(
    n: int = 20, m: int = 10, k: int = 10, quadratic: int | None = None, seed: int = 2025
) -> QuadraticFamily:
    """Return a convex family with quadratic inequalities, at SnareNet's scales.

    Args:
        n: outputs.
        m: equalities.
        k: inequalities.
        quadratic: how many of them have squares; None for all.
        seed: of the data.
    """
    check_count(n=n, m=m, k=k)
    rng = np.random.default_rng(seed)
    curvature, slope = 0.5 * rng.random(n), rng.uniform(-1.0, 1.0, n)
    equalities, inequalities = rng.uniform(-1.0, 1.0, (m, n)), rng.uniform(-1.0, 1.0, (k, n))
    instances = rng.uniform(-0.5, 0.5, (NUM_INSTANCES, m))
    squares = rng.uniform(0.0, 0.1, (k, n))
    squares[k if quadratic is None else quadratic :] = 0.0
    shortest, radius = np.linalg.pinv(equalities), np.linalg.norm(instances, axis=1).max()
    bent = [np.linalg.norm(shortest.T @ (row[:, None] * shortest), 2) for row in squares]
    bounds = np.array(bent) * radius**2 + 0.1
    bounds += np.linalg.norm(inequalities @ shortest, axis=1) * radius
    return QuadraticFamily(
        curvature, slope, False, equalities, inequalities, bounds, instances, squares
    )


def like(model: Array, array: np.ndarray) -> Array:
    """Return an array as the kind of another: NumPy's, or a tensor of its type and device."""
    xp = api.array_namespace(model)
    return xp.asarray(array, dtype=model.dtype, device=api.device(model))
