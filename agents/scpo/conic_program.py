"""The projection of SCPO: the nearest combination of known columns that is guaranteed to be safe.

With D = [Delta_1 ... Delta_n] displacements from the current parameters, the raw step Delta_n last,
S = D'D (or D'PD) and q(c) = c'Sc + |c|' diag S,

    min_c  (c - e_n)' S (c - e_n)
    s.t.   (1 - 1'c) g(theta_t) + G c + L/2 q(c) <= 0      (k rows).

Source: Cao and Borrelli, SCPO, arXiv 2512.13788, equation 11. The k quadratic constraints differ
only in their linear parts, so that one variable t >= q(c) makes them k linear rows and one
second-order cone, which Clarabel solves. Its result is then made exactly feasible by Lemma 1.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import clarabel
import numpy as np
from scipy.linalg.lapack import dpstrf

TOLERANCE = 1e-9  # of the solver, for feasibility and the duality gap
ACCEPTED_TOLERANCE = 1e-7  # where rounding stops it earlier
MARGIN = 1e-9  # by which rows are tightened, so that their tolerance does not shorten the step
PRICE = 1e-9  # of |y| and t in the objective: with dependent columns or L = 0 they are not unique
RELAXED_REGULARIZATION = 1e-7  # of the linear systems in the last attempt
SHORTEST_COLUMN = 1e-9  # relative to the raw step; shorter columns are not used
SMALLEST_MULTIPLE = 1e-8  # of the raw step, in the estimate of the result's size
VIOLATED_ROWS, TIGHT_ROWS = 8, 4  # the first constraints to be imposed, if there are more
BACKWARD_STEPS = (0.0, *(2.0 ** (2 * i - 52) for i in range(26)))  # relative


class ProjectionStatus(Enum):
    """How a projection ended."""

    RAW = "the raw step itself is feasible"
    OPTIMAL = "the optimum, to the solver's tolerance"
    INEXACT = "feasible, but not known to be the optimum"
    NULL = "zero, as no other combination was found to be feasible and nearer to the raw step"


class FeasibleCombination(NamedTuple):
    """The result of a projection: coefficients of the columns, and how they were found."""

    coefficients: np.ndarray  # c, (n,)
    solved: bool  # False where the raw step itself was feasible and no program was solved
    rounds: int  # programs solved (row generation); 0 if none
    status: ProjectionStatus


class _Problem(NamedTuple):
    """Equation 11 as it is."""

    gram: np.ndarray  # S, (n, n)
    squares: np.ndarray  # diag S, (n,)
    differences: np.ndarray  # G - g(theta_t) 1', (n, k)
    current: np.ndarray  # g(theta_t), (k,)
    half_smoothness: np.ndarray  # L / 2, (k,)


class _Program(NamedTuple):
    """Equation 11 in c_i = unit_i y_i, with x_i = c_i |Delta_i| / |raw| = size y_i.

    min_y  y'R'R y - 2 raw'y   s.t.  slopes'y + curvatures (|R y|^2 + lengths'|y|) <= slacks

    The size of the result is unknown; y is of the order of 1 if it is guessed well. This keeps
    results accurate that are a small part of the raw step.
    """

    order: np.ndarray  # (n,) of the columns of D, by the pivots of the factor
    unit: np.ndarray  # (n,) c[order] = unit * y; 0 for columns that are too short
    factor: np.ndarray  # R, (r, n) upper triangular, R'R = size * correlations of the columns
    raw: np.ndarray  # (n,) correlations of the columns with the raw step
    lengths: np.ndarray  # |Delta_i| / |raw|, (n,)
    slopes: np.ndarray  # (n, k)
    curvatures: np.ndarray  # (k,)
    slacks: np.ndarray  # (k,)
    steepest: np.ndarray  # (k,) largest |slope| of each row
    weights: np.ndarray  # (k,) scale the rows to largest entries of 1


def constraint_bounds(
    coefficients: np.ndarray,
    gram: np.ndarray,
    values: np.ndarray,
    current: np.ndarray,
    smoothness: np.ndarray,
) -> np.ndarray:
    """Return upper bounds of g at theta_t + D c, (k,): (1 - 1'c) g_t + G c + L/2 q(c).

    q(c) = c'Sc + |c|' diag S, with coefficients c, (n,), and the other arguments as for `project`.
    Source: Cao and Borrelli, SCPO, arXiv 2512.13788, the left side of equation 11.
    """
    return _bounds(coefficients, _problem(gram, values, current, smoothness))


def project(
    gram: np.ndarray, values: np.ndarray, current: np.ndarray, smoothness: np.ndarray
) -> FeasibleCombination:
    """Return the feasible combination of columns that is nearest to the raw step, the last column.

    min_c (c - e_n)' S (c - e_n)  s.t.  `constraint_bounds`(c) <= 0. Source: Cao and Borrelli, SCPO,
    arXiv 2512.13788, equation 11. The bounds of the result, as `constraint_bounds` returns them,
    are at most 0, whatever the solver does: at worst the result is the longest feasible multiple
    of the raw step (`ProjectionStatus.INEXACT`) or zero (`ProjectionStatus.NULL`).

    Args:
        gram: S, (n, n), inner products of the columns; may be singular.
        values: (n, k), g(theta_t + column_i).
        current: g(theta_t), (k,), at most 0.
        smoothness: L, (k,), at least 0.

    Raises:
        ValueError: if a shape is wrong, a number is not finite, or `current` or `smoothness` has
            the wrong sign.
    """
    _check(gram, values, current, smoothness)
    problem = _problem(gram, values, current, smoothness)
    raw = np.zeros(len(gram))
    raw[-1] = 1.0
    if _bounds(raw, problem).max() <= 0:
        return FeasibleCombination(raw, False, 0, ProjectionStatus.RAW)
    best = _feasible_multiple(raw, problem)
    if not gram[-1, -1] > 0:  # there is no raw step, and nothing is nearer to it than zero
        return FeasibleCombination(best, False, 0, ProjectionStatus.NULL)
    normalized = _normalize(problem)
    reach = _reach(normalized)
    likely = float(np.sqrt(max(best[-1], SMALLEST_MULTIPLE) * reach))
    rounds, status = 0, ProjectionStatus.INEXACT
    for size, relaxed in ((likely, False), (reach, False), (likely, True)):
        program = _resize(normalized, size)
        y, solved = _solve(program, relaxed)
        rounds += solved
        if y is None:
            continue
        solution = np.empty(len(gram))
        solution[program.order] = program.unit * y
        feasible = _feasible_multiple(solution, problem)
        best = min(best, feasible, key=lambda c: _objective(c, gram))
        loss = _objective(feasible, gram) - _objective(solution, gram)
        if not relaxed and loss <= ACCEPTED_TOLERANCE * size * gram[-1, -1]:
            status = ProjectionStatus.OPTIMAL
            break
    return FeasibleCombination(best, True, rounds, status if best.any() else ProjectionStatus.NULL)


def _problem(
    gram: np.ndarray, values: np.ndarray, current: np.ndarray, smoothness: np.ndarray
) -> _Problem:
    return _Problem(gram, gram.diagonal(), values - current, current, 0.5 * smoothness)


def _bounds(coefficients: np.ndarray, problem: _Problem) -> np.ndarray:
    # As g_t + (G - g_t 1') c: close values cancel before large coefficients multiply their errors.
    bend = coefficients @ problem.gram @ coefficients + np.abs(coefficients) @ problem.squares
    return problem.current + coefficients @ problem.differences + bend * problem.half_smoothness


def _objective(coefficients: np.ndarray, gram: np.ndarray) -> float:
    """Return |D c - raw|^2 - |raw|^2."""
    return float(coefficients @ gram @ coefficients - 2 * gram[-1] @ coefficients)


def _feasible_multiple(coefficients: np.ndarray, problem: _Problem) -> np.ndarray:
    """Return the feasible multiple alpha c, alpha >= 0, that is nearest to the raw step.

    Along a ray every row is g + b alpha + a alpha^2 <= 0 with g <= 0 and a >= 0, and the objective
    is least at alpha = <raw, Dc> / |Dc|^2. All smaller alpha are feasible as well (Lemma 1).
    """
    products = problem.gram @ coefficients
    square, along = coefficients @ products, products[-1]
    if not (square > 0 and along > 0):
        return np.zeros_like(coefficients)
    a = square * problem.half_smoothness
    b = coefficients @ problem.differences
    b += (np.abs(coefficients) @ problem.squares) * problem.half_smoothness
    alpha = _largest_multiple(a, b, problem.current, along / square)
    for backward in BACKWARD_STEPS:
        # The root has a rounding error, and so have the bounds that must not exceed 0.
        multiple = (alpha * (1 - backward)) * coefficients
        if _bounds(multiple, problem).max() <= 0:
            return multiple
    return np.zeros_like(coefficients)


def _largest_multiple(a: np.ndarray, b: np.ndarray, g: np.ndarray, ceiling: float) -> float:
    """Return the largest alpha <= ceiling with g + b alpha + a alpha^2 <= 0, g <= 0 <= a, (k,)."""
    total = np.sqrt(b * b - 4 * a * g) + np.abs(b)  # either form of the root without cancellation
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        roots = np.where(b > 0, -2 * g / total, total / (2 * a))
    return float(np.fmin.reduce(roots, initial=ceiling))  # nan is 0 / 0: a row that sets no limit


def _normalize(problem: _Problem) -> _Program:
    """Return the program in units of the raw step, which must not be zero, with size 1."""
    norms = np.sqrt(np.maximum(problem.squares, 0.0))
    length = norms[-1]
    used = norms > SHORTEST_COLUMN * length
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=used)
    correlations = problem.gram * inverse * inverse[:, None]
    # C[p][:, p] = U'U, which stops at the rank; what is below the diagonal stays in the result.
    factor, pivots, rank, _ = dpstrf(correlations)
    order = pivots - 1
    unit = length * inverse[order]
    slopes = problem.differences[order] * unit[:, None]
    return _Program(
        order=order,
        unit=unit,
        factor=np.triu(factor)[:rank],
        raw=correlations[-1][order],
        lengths=norms[order] / length,
        slopes=slopes,
        curvatures=problem.half_smoothness * length**2,
        slacks=-problem.current,
        steepest=np.abs(slopes).max(axis=0),
        weights=np.ones(len(problem.current)),
    )


def _reach(program: _Program) -> float:
    """Return a size, at most 1, that a combination of the columns rarely exceeds."""
    a, b = program.curvatures, -program.steepest
    return max(_largest_multiple(a, b, -program.slacks, 1.0), SMALLEST_MULTIPLE)


def _resize(program: _Program, size: float) -> _Program:
    """Return a program of size 1 for another size, with the weights of its rows."""
    slacks = program.slacks / size
    largest = np.maximum(np.maximum(program.steepest, program.curvatures), slacks)
    return program._replace(
        unit=program.unit * size,
        factor=program.factor * np.sqrt(size),
        slacks=slacks,
        weights=1 / np.maximum(largest, np.finfo(float).tiny),
    )


def _solve(program: _Program, relaxed: bool) -> tuple[np.ndarray | None, int]:
    """Return the solution y, or None if the solver fails, and how many programs were solved."""
    rows = _first_rows(program)
    margin = 0.0 if relaxed else MARGIN  # there may be no interior to take it from
    rounds, add = 0, VIOLATED_ROWS
    while True:
        y = _solve_rows(program, rows, margin, relaxed)
        rounds += 1
        if y is None or len(rows) == len(program.slacks):
            return y, rounds
        bounds = _row_bounds(program, y)
        bounds[rows] = -np.inf
        if bounds.max() <= MARGIN - margin:
            return y, rounds
        rows = np.concatenate([rows, _largest(bounds, min(add, len(bounds) - len(rows)))])
        add *= 2  # so that a few rounds suffice for any number of rows


def _row_bounds(program: _Program, y: np.ndarray) -> np.ndarray:
    """Return the weighted left sides of all rows minus the right sides, (k,)."""
    bend = np.square(program.factor @ y).sum() + program.lengths @ np.abs(y)
    left = y @ program.slopes + bend * program.curvatures
    return (left - program.slacks) * program.weights


def _first_rows(program: _Program) -> np.ndarray:
    """Return the rows that a raw step of the program's size violates most, and those tight now."""
    if len(program.slacks) <= VIOLATED_ROWS + TIGHT_ROWS:
        return np.arange(len(program.slacks))
    raw = (program.order == len(program.order) - 1).astype(float)
    violated = _largest(_row_bounds(program, raw), VIOLATED_ROWS)
    tightness = -program.slacks * program.weights
    tightness[violated] = -np.inf
    return np.concatenate([violated, _largest(tightness, TIGHT_ROWS)])


def _largest(numbers: np.ndarray, count: int) -> np.ndarray:
    return np.argpartition(numbers, len(numbers) - count)[len(numbers) - count :]


class _Columns(NamedTuple):
    """A matrix by columns: the attributes of scipy.sparse.csc_matrix that Clarabel reads.

    Clarabel copies lists several times faster than arrays, and most of a small program is copying.
    """

    data: list[float]
    indices: list[int]
    indptr: list[int]
    shape: tuple[int, int]
    has_canonical_format: bool = True


class _Pattern(NamedTuple):
    """The parts shared by programs with the same number of columns, rows and dimensions."""

    used: np.ndarray  # (n, 2 + k + r) which entries of the block of y are in the matrix
    indices: list[int]
    indptr: list[int]
    shape: tuple[int, int]
    no_quadratic_part: _Columns
    cones: list[object]


@lru_cache(maxsize=256)
def _pattern(n: int, k: int, r: int) -> _Pattern:
    """Return the pattern of the matrix of `_solve_rows`: variables y, u, t, v in this order."""
    bend = 2 * n + k  # the row of v + lengths'u <= t, after those of |y| <= u and of g
    cone = bend + 1  # the first row of |(2 R y, v - 1)| <= v + 1
    used = np.ones((n, 2 + k + r), dtype=bool)
    used[:, 2 + k :] = np.tri(n, r, dtype=bool)
    in_rows = np.r_[0, 0, 2 * n : bend, cone + 1 : cone + 1 + r]
    by_column = []
    for i in range(n):
        in_rows[:2] = i, n + i
        by_column.append(in_rows[used[i]].tolist())
    by_column += [[i, n + i, bend] for i in range(n)]
    by_column += [list(range(2 * n, bend + 1)), [bend, cone, cone + r + 1]]
    indptr = np.cumsum([0, *(len(rows) for rows in by_column)]).tolist()
    indices = [row for rows in by_column for row in rows]
    variables = 2 * n + 2
    empty = _Columns([], [], [0] * (variables + 1), (variables, variables))
    cones = [clarabel.NonnegativeConeT(cone), clarabel.SecondOrderConeT(r + 2)]
    return _Pattern(used, indices, indptr, (cone + r + 2, variables), empty, cones)


def _solve_rows(
    program: _Program, rows: np.ndarray, margin: float, relaxed: bool
) -> np.ndarray | None:
    """Return the solution y under some of the rows, or None if the solver fails.

    min v - 2 raw'y  s.t.  |y| <= u,  |R y|^2 <= v,  v + lengths'u <= t,
                           slopes'y + curvatures t <= slacks - margin.
    """
    n, k, r = len(program.unit), len(rows), len(program.factor)
    pattern, weights = _pattern(n, k, r), program.weights[rows]
    block = np.empty((n, 2 + k + r))
    block[:, 0], block[:, 1] = 1.0, -1.0
    block[:, 2 : 2 + k] = program.slopes[:, rows] * weights
    block[:, 2 + k :] = -2 * program.factor.T
    of_u = np.full((n, 3), -1.0)
    of_u[:, 2] = program.lengths
    of_t, of_v = [*(program.curvatures[rows] * weights).tolist(), -1.0], [1.0, -1.0, -1.0]
    data = block[pattern.used].tolist() + of_u.ravel().tolist() + of_t + of_v
    slacks = (program.slacks[rows] * weights - margin).tolist()
    right = [0.0] * (2 * n) + slacks + [0.0, 1.0] + [0.0] * r + [-1.0]
    linear = (-2 * program.raw).tolist() + [PRICE] * n + [PRICE, 1.0]
    matrix = _Columns(data, pattern.indices, pattern.indptr, pattern.shape)
    solution = clarabel.DefaultSolver(
        pattern.no_quadratic_part, linear, matrix, right, pattern.cones, _settings(relaxed)
    ).solve()
    status = clarabel.SolverStatus
    if solution.status not in (status.Solved, status.AlmostSolved):
        return None
    y = np.array(solution.x[:n])
    return y if np.isfinite(y).all() else None


@lru_cache
def _settings(relaxed: bool) -> clarabel.DefaultSettings:
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_feas = settings.tol_gap_abs = settings.tol_gap_rel = TOLERANCE
    if relaxed:
        settings.static_regularization_constant = RELAXED_REGULARIZATION
    else:  # of a solution that Clarabel reports as almost solved
        settings.reduced_tol_feas = ACCEPTED_TOLERANCE
        settings.reduced_tol_gap_abs = settings.reduced_tol_gap_rel = ACCEPTED_TOLERANCE
    return settings


def _check(
    gram: np.ndarray, values: np.ndarray, current: np.ndarray, smoothness: np.ndarray
) -> None:
    """Raise ValueError unless the inputs of `project` fit together."""
    n, k = len(gram), len(current)
    came = (gram.shape, values.shape, current.shape, smoothness.shape)
    if min(n, k) < 1 or came != ((n, n), (n, k), (k,), (k,)):
        raise ValueError(
            f"gram, values, current and smoothness have the shapes {came}; pass (n, n), (n, k), "
            "(k,) and (k,) for n >= 1 columns and k >= 1 constraints"
        )
    for name, numbers in (("gram", gram), ("values", values), ("smoothness", smoothness)):
        if not np.isfinite(numbers).all():
            raise ValueError(
                f"{name} has the entry {numbers[~np.isfinite(numbers)][0]}; pass finite numbers "
                "and leave out the columns that could not be measured"
            )
    if not (np.isfinite(current) & (current <= 0)).all():
        j = int(np.argmax(~np.isfinite(current) | (current > 0)))
        raise ValueError(
            f"current[{j}] is {current[j]}; a projection starts where all constraints hold, pass "
            "values <= 0"
        )
    if smoothness.min() < 0:
        j = int(np.argmin(smoothness))
        raise ValueError(f"smoothness[{j}] is {smoothness[j]}; pass bounds of curvature, all >= 0")
