"""The least objective of each instance of a quadratic family, for comparisons.

Convex families are solved by Clarabel, an interior-point solver for conic programs, with

    A y = x                            zero cone
    G_i . y <= h_i                     nonnegative cone
    squares_i . y^2 <= t_i,
    t_i = h_i - G_i . y                second-order cone |(2 sqrt(squares_i) y, 1 - t_i)| <= 1 + t_i

The matrices are the same for all instances: they are assembled and factorized symbolically once,
and only the right side x changes. Families with a sine have local optima; they are solved by SLSQP
from several starts, and the best end counts.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from pathlib import Path

import clarabel
import numpy as np
from scipy.sparse import csc_matrix, diags, vstack

from agents.atomic_files import replacing
from safe_envs.action_constraints import violation
from safe_envs.contract.argument_checks import check_count
from safe_envs.control.quadratic_families import QuadraticFamily
from safe_envs.control.quadratic_optimum import LocalOptimum, local_optimum

# Clarabel's gap and largest share of a step: the next where it makes no progress with the last.
ATTEMPTS = ((1e-9, 0.99), (1e-8, 0.99), (1e-8, 0.95), (1e-7, 0.9), (1e-7, 0.8))
ACCEPTED = 1e-7  # residuals and relative gap of what it returns
FEASIBILITY = 1e-7  # largest violation of a row of what it returns
STARTS = 4  # of SLSQP; on DC3's 833 test instances all of them end at the same value
SPREAD = 1.0  # standard deviation of the starts around A+ x, in every direction of the null space
DAMAGES = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)  # of a file
METHOD = "1"  # part of the names of files; another one where the values would differ


def convex_optima(family: QuadraticFamily, x: np.ndarray) -> np.ndarray:
    """Return the optimal outputs y, (B, n), of a convex family.

    Args:
        family: without a sine, and with curvature >= 0 and squares >= 0.
        x: parameters, (B, m).

    Raises:
        ValueError: if the family is not convex, or x has another shape.
        RuntimeError: if Clarabel fails, or an output violates a row by more than 1e-7; the error
            names the instance.
    """
    x = _checked(family, x)
    squares = np.zeros((0, family.sizes[0])) if family.squares is None else family.squares
    if family.sine or family.curvature.min() < 0.0 or (squares < 0.0).any():
        raise ValueError(
            "the family is not convex: it has a sine, or a negative curvature or square; use "
            "local_optima"
        )
    if len(x) == 0:
        return np.empty((0, family.sizes[0]))
    matrix, right, cones = _cones(family)
    right[: x.shape[1]] = x[0]
    quadratic = csc_matrix(diags(family.curvature))
    solvers = [
        clarabel.DefaultSolver(quadratic, family.slope, matrix, right, cones, _settings(*attempt))
        for attempt in ATTEMPTS
    ]
    outputs = np.empty((len(x), family.sizes[0]))
    for place, one in enumerate(x):
        right[: x.shape[1]] = one
        solution = _first_optimal(solvers, right)
        if not _is_optimal(solution):
            raise RuntimeError(
                f"Clarabel ended with {solution.status} at instance {place}; x may have no "
                "feasible y"
            )
        outputs[place] = solution.x
    _check_feasible(family, x, outputs)
    return outputs


def local_optima(
    family: QuadraticFamily, x: np.ndarray, starts: int = STARTS, seed: int = 0
) -> np.ndarray:
    """Return the best outputs y, (B, n), that SLSQP finds from several starts.

    The first start is A+ x. The others are A+ x + Z u with u ~ N(0, 1).

    Args:
        family: any.
        x: parameters, (B, m).
        starts: for each instance.
        seed: of the starts.

    Raises:
        ValueError: if x has another shape, or starts is less than 1.
        RuntimeError: if no start of an instance leads to an optimum.
    """
    x = _checked(family, x)
    check_count(starts=starts)
    rng = np.random.default_rng(seed)
    directions = family.null_space.shape[1]
    outputs = np.empty((len(x), family.sizes[0]))
    for place, one in enumerate(x):
        offsets = SPREAD * rng.standard_normal((starts - 1, directions))
        outputs[place] = _best(family, one, [np.zeros(directions), *offsets], place).outputs
    _check_feasible(family, x, outputs)
    return outputs


def optimal_values(
    family: QuadraticFamily, x: np.ndarray, folder: Path | None = None
) -> np.ndarray:
    """Return f at the optimum of each instance, (B,); the best known one if there is a sine.

    Args:
        family: of the instances.
        x: parameters, (B, m).
        folder: where values are kept, in a file for each family and x; None keeps nothing. A
            file that is damaged is named in a warning and replaced.

    Raises:
        ValueError: if x has another shape.
        RuntimeError: if an instance cannot be solved.
        OSError: if the folder cannot be written.
    """
    x = _checked(family, x)
    if folder is None:
        return _solved(family, x)
    path = folder / f"optima_{_digest(family, x)}.npz"
    if path.exists():
        try:
            return _read(path, len(x))
        except DAMAGES as error:
            warnings.warn(f"{path} is damaged ({error}); it is computed again", stacklevel=2)
    values = _solved(family, x)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, values=values)
    return values


def _solved(family: QuadraticFamily, x: np.ndarray) -> np.ndarray:
    find = local_optima if family.sine else convex_optima
    values: np.ndarray = family.objective(find(family, x))
    return values


def _best(
    family: QuadraticFamily, x: np.ndarray, starts: list[np.ndarray], place: int
) -> LocalOptimum:
    found, failures = [], []
    for start in starts:
        try:
            found.append(local_optimum(family, x, start))
        except RuntimeError as error:
            failures.append(error)
    if not found:
        raise RuntimeError(
            f"none of {len(starts)} starts led to an optimum of instance {place}; the last one: "
            f"{failures[-1]}"
        )
    return min(found, key=lambda one: one.value)


def _checked(family: QuadraticFamily, x: np.ndarray) -> np.ndarray:
    m = family.sizes[1]
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != m or not np.isfinite(x).all():
        raise ValueError(f"x has shape {x.shape}; pass finite numbers of shape (B, {m})")
    return x


def _check_feasible(family: QuadraticFamily, x: np.ndarray, outputs: np.ndarray) -> None:
    rows = family.rows(x)
    worst = violation(rows.values(outputs), rows.lower, rows.upper).max(axis=1, initial=0.0)
    if not (worst <= FEASIBILITY).all():
        place = int(np.argmax(~(worst <= FEASIBILITY)))
        raise RuntimeError(
            f"the solution of instance {place} violates a row by {worst[place]:.1e}; allowed are "
            f"{FEASIBILITY:g}"
        )


def _cones(family: QuadraticFamily) -> tuple[csc_matrix, np.ndarray, list[object]]:
    """Return M, b and the cones of b - M y, with the equalities, whose b is x, first."""
    n, m, k = family.sizes
    bent = np.zeros(k, bool) if family.squares is None else family.squares.any(axis=1)
    matrices = [family.equalities, family.inequalities[~bent]]
    rights = [np.zeros(m), family.bounds[~bent]]
    cones = [clarabel.ZeroConeT(m)]
    if not bent.all():
        cones.append(clarabel.NonnegativeConeT(int((~bent).sum())))
    for row in np.flatnonzero(bent):
        assert family.squares is not None
        roots = np.sqrt(family.squares[row])
        linear, bound = family.inequalities[row], family.bounds[row]
        used = np.flatnonzero(roots)
        square = np.zeros((len(used), n))
        square[np.arange(len(used)), used] = -2.0 * roots[used]
        matrices += [linear[None], -linear[None], square]
        rights += [np.array([1.0 + bound, 1.0 - bound]), np.zeros(len(used))]
        cones.append(clarabel.SecondOrderConeT(2 + len(used)))
    return csc_matrix(vstack([csc_matrix(one) for one in matrices])), np.concatenate(rights), cones


def _first_optimal(
    solvers: list[clarabel.DefaultSolver], right: np.ndarray
) -> clarabel.DefaultSolution:
    """Return the first optimum that a solver finds for a right side, or what the last one does."""
    for solver in solvers:
        solver.update(b=right)
        solution = solver.solve()
        if _is_optimal(solution):
            break
    return solution


def _settings(gap: float, step: float) -> clarabel.DefaultSettings:
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.presolve_enable = False  # it may drop rows, after which the right side cannot change
    settings.tol_gap_abs = settings.tol_gap_rel = gap
    settings.max_step_fraction = step
    return settings


def _is_optimal(solution: clarabel.DefaultSolution) -> bool:
    """Return whether primal and dual residuals and the gap between both objectives are small."""
    gap = abs(solution.obj_val - solution.obj_val_dual) / (1.0 + abs(solution.obj_val))
    errors = (solution.r_prim, solution.r_dual, gap)
    return all(one <= ACCEPTED for one in errors)  # False of NaN


def _digest(family: QuadraticFamily, x: np.ndarray) -> str:
    """Return a name for the family and x: the same arrays have the same one."""
    found = hashlib.sha256(f"{METHOD} {family.sine}".encode())
    squares = np.zeros(0) if family.squares is None else family.squares
    arrays = (family.curvature, family.slope, family.equalities, family.inequalities)
    for array in (*arrays, family.bounds, squares, x):
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return found.hexdigest()[:32]


def _read(path: Path, count: int) -> np.ndarray:
    """Return the values in a file.

    Raises:
        ValueError: if they are not `count` finite numbers.
    """
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        values: np.ndarray = arrays["values"]
    if values.shape != (count,) or values.dtype != np.float64 or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape} and type {values.dtype}, or not finite")
    return values
