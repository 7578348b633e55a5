"""SCPO's projection and cvxpy: time, optimality and feasibility.

`python -m baselines.benchmarks.projection [--instances N]`. One thread. All three solve equation 11
of arXiv 2512.13788 with Clarabel to the same tolerance, and take turns on every instance, so that
the ratios of their medians hold on a busy machine as well:

- ours, `agents.scpo.conic_program.project`, from the arrays to the coefficients;
- cvxpy, equation 11 as it is printed, built and solved for every instance;
- cvxpy DPP, one problem per size with parameters, in the form that is fastest: the common
  quadratic part is one variable and the data are normalized, which is not timed. Building the
  problem and its first call are also not timed.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import cvxpy as cp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from agents.scpo.conic_program import TOLERANCE, constraint_bounds, project
from baselines.shell_command import shell_command

SIZES = ((4, 1), (8, 64), (16, 64), (16, 2500))  # columns, constraints
PARAMETERS = 64  # d, the dimension of the synthetic parameters
STEP = 0.1  # length of the synthetic raw steps
WAVES = 8  # in the synthetic dependence on the validation state


@dataclass(frozen=True)
class ProjectionArguments:
    """Print times of SCPO's projection, ratios to cvxpy, and how well the results agree."""

    instances: int = 100
    """Seeded problems of each size."""


class Instance(NamedTuple):
    """The arguments of `project`."""

    gram: np.ndarray  # (n, n)
    values: np.ndarray  # (n, k)
    current: np.ndarray  # (k,)
    smoothness: np.ndarray  # (k,)

    def objective(self, coefficients: np.ndarray) -> float:
        """Return |D c - raw|^2 / |raw|^2."""
        apart = coefficients - np.eye(len(self.gram))[-1]
        return float(apart @ self.gram @ apart / self.gram[-1, -1])


def random_instance(columns: int, constraints: int, seed: int) -> Instance:
    """Return a projection in which the raw step is not feasible.

    The columns are what a bank holds after a walk of correlated raw steps, of which a part was
    accepted. Constraint j is the value at a validation state z_j in [0, 1] of

        g(theta, z) = -slack(z) + J(z) theta + 1/2 sum_p w_p(z) (v_p(z)' theta)^2,  theta_t = 0,

    with smooth random slack, J, w and v, so that neighbors are nearly the same constraint, and
    L(z) = sum_p |w_p(z)| |v_p(z)|^2 bounds the second derivative.
    """
    rng = np.random.default_rng(seed)
    walk = _walk(rng, columns)  # (n, d)
    raw = walk[-1]
    states = np.linspace(0, 1, constraints)
    jacobian = _random_field(rng, states, PARAMETERS)  # (k, d)
    along = jacobian @ raw
    worst = int(np.argmax(np.abs(along)))
    # The constraints mostly oppose the raw step, as they do where training is about to violate.
    jacobian *= np.sign(along[worst])
    jacobian += rng.uniform(0, 2) * np.outer(jacobian @ raw, raw) / (raw @ raw)
    weights = _random_field(rng, states, 3)  # (k, 3)
    bends = [_random_field(rng, states, PARAMETERS) for _ in range(3)]  # (k, d) each
    smoothness = sum(abs(w) * (v**2).sum(1) for w, v in zip(weights.T, bends, strict=True))
    slack = np.abs(_random_field(rng, states, 1)[:, 0]) + 10 ** rng.uniform(-3, -1)
    current = -STEP * 10 ** rng.uniform(-1, 0.5) * slack
    current[worst] = -rng.uniform(0.1, 0.9) * jacobian[worst] @ raw
    values = current + walk @ jacobian.T
    for w, v in zip(weights.T, bends, strict=True):
        values += 0.5 * w * (walk @ v.T) ** 2
    return Instance(walk @ walk.T, values, current, np.asarray(smoothness))


def _walk(rng: np.random.Generator, columns: int) -> np.ndarray:
    """Return displacements to the parameters of a walk and to its raw steps, (n, d)."""
    common = _unit(rng, 1)
    raws = STEP * (rng.uniform(0.3, 1, (columns, 1)) * common + 0.7 * _unit(rng, columns))
    accepted = rng.uniform(0.05, 0.6, (columns, 1)) * raws + 0.2 * STEP * _unit(rng, columns)
    since = np.cumsum(accepted[::-1], axis=0)[::-1]  # from then to now
    displacements = np.where(rng.random((columns, 1)) < 0.6, raws - since, -since)
    displacements[-1] = raws[-1]
    return displacements


def _unit(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.normal(size=(count, PARAMETERS))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _random_field(rng: np.random.Generator, states: np.ndarray, width: int) -> np.ndarray:
    """Return smooth random functions at the states, (k, width), with a norm of about 1."""
    frequencies, phases = rng.uniform(0, 6, WAVES), rng.uniform(0, 1, WAVES)
    waves = np.cos(2 * np.pi * (np.outer(states, frequencies) + phases))
    return waves @ rng.normal(size=(WAVES, width)) / np.sqrt(WAVES / 2 * width)


def printed_form(instance: Instance, tolerance: float = TOLERANCE) -> np.ndarray:
    """Return the solution of equation 11, written down for cvxpy as it is printed."""
    gram, values, current, smoothness = instance
    n = len(gram)
    c = cp.Variable(n)
    weighted = cp.psd_wrap(gram)
    bend = cp.quad_form(c, weighted) + cp.abs(c) @ np.diag(gram)
    bounds = (1 - cp.sum(c)) * current + values.T @ c + smoothness / 2 * bend
    apart = cp.quad_form(c - np.eye(n)[-1], weighted) / gram[-1, -1]
    _clarabel(cp.Problem(cp.Minimize(apart), [bounds <= 0]), tolerance)
    return np.asarray(c.value)


class ParametrizedProjection:
    """Equation 11 as a cvxpy problem that is built once for a size and solved many times.

    min |R x - R e|^2  s.t.  slopes x + curvatures t <= slacks,  |R x|^2 + lengths'|x| <= t,

    with c_i = x_i |Delta_i| / |raw| and R'R the columns' correlations.
    """

    def __init__(self, columns: int, constraints: int, tolerance: float = TOLERANCE) -> None:
        n, k = columns, constraints
        self.tolerance = tolerance
        self.root, self.raw = cp.Parameter((n, n)), cp.Parameter(n)
        self.slopes = cp.Parameter((k, n))
        self.curvatures = cp.Parameter(k, nonneg=True)
        self.lengths = cp.Parameter(n, nonneg=True)
        self.slacks = cp.Parameter(k, nonneg=True)
        self.x, bend = cp.Variable(n), cp.Variable()
        image = self.root @ self.x
        rows = self.slopes @ self.x + self.curvatures * bend <= self.slacks
        cone = cp.sum_squares(image) + self.lengths @ cp.abs(self.x) <= bend
        self.problem = cp.Problem(cp.Minimize(cp.sum_squares(image - self.raw)), [rows, cone])

    def set(self, instance: Instance) -> None:
        """Set the parameters from an instance, normalized, its rows scaled to 1."""
        gram, values, current, smoothness = instance
        norms = np.sqrt(np.diag(gram))
        eigenvalues, vectors = np.linalg.eigh(gram / np.outer(norms, norms))
        root = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * vectors.T
        slopes = (values - current).T * (norms[-1] / norms)
        curvatures = smoothness / 2 * norms[-1] ** 2
        rows = 1 / np.maximum(np.abs(slopes).max(1), curvatures)
        self.root.value, self.raw.value = root, root[:, -1]
        self.slopes.value, self.curvatures.value = slopes * rows[:, None], curvatures * rows
        self.lengths.value, self.slacks.value = norms / norms[-1], -current * rows
        self.unit = norms[-1] / norms

    def solve(self) -> np.ndarray:
        """Return the coefficients c."""
        _clarabel(self.problem, self.tolerance)
        return np.asarray(self.x.value * self.unit)


def _clarabel(problem: cp.Problem, tolerance: float) -> None:
    with warnings.catch_warnings():
        # Rounding stops Clarabel short of some tolerances; the differences show how far.
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        problem.solve(
            solver=cp.CLARABEL,
            tol_feas=tolerance,
            tol_gap_abs=tolerance,
            tol_gap_rel=tolerance,
            max_threads=1,
        )


class ProjectionComparison(NamedTuple):
    """Figures of one size."""

    seconds: np.ndarray  # (instances, 3): ours, cvxpy as printed, cvxpy DPP
    differences: np.ndarray  # (instances, 2) of our objective to that of the two cvxpy forms
    bounds: np.ndarray  # (instances,) our largest constraint


def compare(columns: int, constraints: int, instances: int) -> ProjectionComparison:
    """Solve instances of one size in all three ways, in turns."""
    form = ParametrizedProjection(columns, constraints)
    seconds, differences, bounds = [], [], []
    for seed in range(-1, instances):  # the first fills caches and compiles
        instance = random_instance(columns, constraints, max(seed, 0))
        form.set(instance)
        times = [time.process_time()]
        ours = project(*instance).coefficients
        times.append(time.process_time())
        printed = printed_form(instance)
        times.append(time.process_time())
        parametrized = form.solve()
        times.append(time.process_time())
        if seed >= 0:
            seconds.append(np.diff(times))
            peers = (printed, parametrized)
            differences.append([instance.objective(ours) - instance.objective(c) for c in peers])
            bounds.append(constraint_bounds(ours, *instance).max())
    return ProjectionComparison(np.array(seconds), np.array(differences), np.array(bounds))


def table(comparisons: dict[tuple[int, int], ProjectionComparison], instances: int) -> Table:
    """Return a row for every size."""
    found = Table(title=f"SCPO's projection, {instances} instances of each size, one thread")
    for heading in (
        "columns",
        "constraints",
        "ours [CPU ms]",
        "cvxpy / ours",
        "cvxpy DPP / ours",
        "objective - cvxpy",
        "objective - DPP",
        "largest constraint",
    ):
        found.add_column(heading, justify="right")
    for (columns, constraints), comparison in comparisons.items():
        medians = np.median(comparison.seconds, axis=0)
        worst = np.abs(comparison.differences).max(axis=0)
        found.add_row(
            f"{columns}",
            f"{constraints}",
            f"{medians[0] * 1e3:.2f}",
            f"{medians[1] / medians[0]:.1f}x",
            f"{medians[2] / medians[0]:.1f}x",
            *(f"{difference:.1e}" for difference in worst),
            f"{comparison.bounds.max():.1e}",
        )
    return found


def main(arguments: ProjectionArguments) -> None:
    """Measure and print."""
    with threadpool_limits(1):
        comparisons = {size: compare(*size, arguments.instances) for size in SIZES}
    Console(width=110).print(table(comparisons, arguments.instances))


if __name__ == "__main__":
    main(tyro.cli(ProjectionArguments, prog=shell_command("baselines.benchmarks.projection")))
