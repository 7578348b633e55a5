"""The safety filter's quadratic program and cvxpy: time and agreement.

`python -m baselines.benchmarks.filter_against_cvxpy`, and at the start of
`python -m baselines.benchmarks.safety_filter`. It compares the program alone,
`quadratic_program.solve_assembled`, which is DAQP on arrays; everything from the rows to the
action, `quadratic_program.solve`; and cvxpy with Clarabel, once as a problem with parameters (DPP)
that is built and compiled beforehand, once rebuilt for every program. They take turns: each solves
all programs one after the other, then the next does. Rows are scaled to length one for cvxpy, which
is not timed. Our solutions are compared with Clarabel's at a tolerance of 1e-10, also not timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from baselines.shell_command import shell_command
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.quadrotor.vehicle import CRAZYFLIE
from safe_envs.safety_filters import SphereZCBF, Weight, hover_metric, weight_of
from safe_envs.safety_filters.quadratic_program import (
    NO_AUTHORITY,
    assembled,
    solve,
    solve_assembled,
)

LOW, HIGH = np.zeros(4), np.ones(4)
BINDING = 1e-9  # a row or bound met by less than this determines the solution
ONE_ROW, SEVERAL, ALL = "one row decides", "several rows or bounds", "as they come"
CLARABEL_TOLERANCE = 1e-8  # its default
TIGHT = 1e-10  # for the solutions that ours are compared with; at 1e-12 it gives up


@dataclass(frozen=True)
class CvxpyComparisonArguments:
    """Print times of the filter's quadratic program and their ratios to cvxpy."""

    programs: int = 200
    """Random active programs of each kind."""
    repeats: int = 3
    """Turns on every program."""


class Program(NamedTuple):
    """The arguments of `solve` that change from program to program."""

    reference: np.ndarray  # (4,)
    rows: np.ndarray  # (4, 4), one of each sphere
    bounds: np.ndarray  # (4,)


class FilterComparison(NamedTuple):
    """Programs solved in four ways: alone, from the rows, cvxpy DPP, cvxpy rebuilt."""

    seconds: np.ndarray  # (4, programs * repeats)
    disagreement: float  # largest difference of our actions' entries to Clarabel's tight solutions


def load_cvxpy() -> ModuleType:
    """Return the module cvxpy; ImportError with the pip line if it is missing."""
    try:
        import cvxpy
    except ImportError as error:
        raise ImportError(
            'the comparison needs cvxpy; install it with: pip install "safe-envs-agents[dev]"'
        ) from error
    return cvxpy


def print_programs(console: Console, count: int, repeats: int) -> None:
    """Print microseconds of `count` programs of each kind, ratios and disagreement.

    Raises:
        ImportError: if cvxpy is missing.
    """
    weight = weight_of(hover_metric(CRAZYFLIE, CONTROL_DT))
    title = f"CPU us of a program, {count} of each kind: 4 thrusts, 4 rows, box, slack"
    table = Table(title=title)
    table.add_column("binding", no_wrap=True)
    for heading in ("alone", "p99", "from rows", "p99", "DPP", "rebuilt"):
        table.add_column(heading, justify="right")
    for heading in ("DPP\n/ alone", "rebuilt\n/ alone", "DPP\n/ rows", "rebuilt\n/ rows", "off by"):
        table.add_column(heading, justify="right")
    for kind, programs in random_programs(count, weight).items():
        seconds, disagreement = compare(programs, weight, repeats)
        medians, slow = 1e6 * np.percentile(seconds, (50, 99), axis=1)
        cells = [f"{time:,.0f}" for i in (0, 1) for time in (medians[i], slow[i])]
        cells += [f"{medians[i]:,.0f}" for i in (2, 3)]
        cells += [f"{medians[i] / medians[ours]:,.0f}x" for ours in (0, 1) for i in (2, 3)]
        table.add_row(kind, *cells, f"{disagreement:.1e}")
    console.print(table)


def random_programs(count: int, weight: Weight, seed: int = 0) -> dict[str, list[Program]]:
    """Return `count` programs of each kind, of order 3, at random states near four spheres.

    Programs with a safe reference are left out; all others together are the third kind.
    """
    rng = np.random.default_rng(seed)
    barrier = SphereZCBF(3)
    flight = QuadrotorVectorEnv(4 * count)
    found: dict[str, list[Program]] = {kind: [] for kind in (ALL, ONE_ROW, SEVERAL)}
    while min(map(len, found.values())) < count:
        flight.reset(seed=int(rng.integers(2**31)))
        states, references = random_states(rng, flight), rng.random((4, flight.num_envs))
        rows = barrier.around(CRAZYFLIE, CONTROL_DT, flight.centers, flight.radii)
        for i, (matrix, bounds) in enumerate(zip(*rows.batch(states, references), strict=True)):
            program = Program(np.ascontiguousarray(references[:, i]), matrix, bounds)
            kind = kind_of(program, weight)
            for group in () if kind is None else (kind, ALL):
                if len(found[group]) < count:
                    found[group].append(program)
    return found


def random_states(rng: np.random.Generator, flight: QuadrotorVectorEnv) -> np.ndarray:
    """Return states next to one of each flight's spheres, (13, N).

    Up to 0.5 m off the sphere, with velocities N(0, 1 m/s), about 20 degrees off level, and body
    rates N(0, 1 rad/s).
    """
    count = flight.num_envs
    sphere = rng.integers(len(flight.radii), size=count)
    away = rng.standard_normal((3, count))
    away *= (flight.radii[sphere] + rng.uniform(0.0, 0.5, count)) / np.linalg.norm(away, axis=0)
    states = rng.standard_normal((13, count))
    states[:3] = flight.centers[sphere, :, np.arange(count)].T + away
    states[6] = 1.0
    states[7:10] *= 0.15
    states[6:10] /= np.linalg.norm(states[6:10], axis=0)
    return states


def kind_of(program: Program, weight: Weight) -> str | None:
    """Return what determines the solution; None if the reference is safe."""
    solution = solve(weight, *program, LOW, HIGH)
    if not solution.active:
        return None
    lengths = np.maximum(np.linalg.norm(program.rows, axis=1), NO_AUTHORITY)
    met = (program.rows @ solution.action - program.bounds) / lengths + solution.slack
    away = np.concatenate([met, solution.action - LOW, HIGH - solution.action])
    return ONE_ROW if np.count_nonzero(away < BINDING) == 1 else SEVERAL


def compare(programs: list[Program], weight: Weight, repeats: int) -> FilterComparison:
    """Solve all programs in the four ways, in turns."""
    form = ParametrizedFilter(weight)
    scaled = [unit_rows(program) for program in programs]
    ready = [
        assembled(weight, u, rows, bounds - rows @ u, LOW, HIGH, None)
        for u, rows, bounds in programs
    ]
    solvers: list[Callable[[int], object]] = [
        lambda i: solve_assembled(ready[i]),
        lambda i: solve(weight, *programs[i], LOW, HIGH),
        lambda i: form.solve(scaled[i]),
        lambda i: rebuilt_form(scaled[i], weight),
    ]
    seconds = np.empty((len(solvers), repeats, len(programs)))
    worst = 0.0
    exact = np.stack([form.solve(program, TIGHT) for program in scaled])
    form.solve(scaled[0])
    for repeat in range(repeats):
        for way, solver in enumerate(solvers):
            for i in range(len(programs)):
                start = time.process_time()
                solver(i)
                seconds[way, repeat, i] = time.process_time() - start
    for program, solution in zip(programs, exact, strict=True):
        action = solve(weight, *program, LOW, HIGH).action
        worst = max(worst, float(np.abs(action - solution).max()))
    return FilterComparison(seconds.reshape(len(solvers), -1), worst)


def unit_rows(program: Program) -> Program:
    """Return the program with rows of length one."""
    lengths = np.maximum(np.linalg.norm(program.rows, axis=1), NO_AUTHORITY)
    return Program(program.reference, program.rows / lengths[:, None], program.bounds / lengths)


class ParametrizedFilter:
    """The program as a cvxpy problem that is compiled once, with parameters."""

    def __init__(self, weight: Weight) -> None:
        cp: Any = load_cvxpy()
        self._solver = cp.CLARABEL
        self._reference = cp.Parameter(4)
        self._rows, self._bounds = cp.Parameter((4, 4)), cp.Parameter(4)
        self._action, slack = cp.Variable(4), cp.Variable()
        root = np.linalg.cholesky(weight.hessian[:4, :4]).T
        change = cp.sum_squares(root @ (self._action - self._reference))
        objective = 0.5 * change + 0.5 * weight.hessian[4, 4] * cp.square(slack)
        rows = [self._rows @ self._action + slack >= self._bounds]
        box = [self._action >= LOW, self._action <= HIGH, slack >= 0]
        self._problem = cp.Problem(cp.Minimize(objective), rows + box)

    def solve(self, program: Program, tolerance: float = CLARABEL_TOLERANCE) -> np.ndarray:
        """Return the action of a program with rows of length one."""
        self._reference.value, self._rows.value, self._bounds.value = program
        self._problem.solve(
            solver=self._solver,
            tol_feas=tolerance,
            tol_gap_abs=tolerance,
            tol_gap_rel=tolerance,
            max_threads=1,
        )
        return np.asarray(self._action.value)


def rebuilt_form(program: Program, weight: Weight) -> np.ndarray:
    """Return the action of a program with rows of length one, built and solved by cvxpy."""
    cp: Any = load_cvxpy()
    action, slack = cp.Variable(4), cp.Variable()
    change = cp.quad_form(action - program.reference, cp.psd_wrap(weight.hessian[:4, :4]))
    objective = 0.5 * change + 0.5 * weight.hessian[4, 4] * cp.square(slack)
    constraints = [program.rows @ action + slack >= program.bounds]
    constraints += [action >= LOW, action <= HIGH, slack >= 0]
    problem = cp.Problem(cp.Minimize(objective), constraints)
    problem.solve(solver=cp.CLARABEL, max_threads=1)
    return np.asarray(action.value)


def main(arguments: CvxpyComparisonArguments) -> None:
    """Measure and print the table."""
    with threadpool_limits(1):
        print_programs(Console(width=140), arguments.programs, arguments.repeats)


if __name__ == "__main__":
    main(
        tyro.cli(
            CvxpyComparisonArguments,
            prog=shell_command("baselines.benchmarks.filter_against_cvxpy"),
        )
    )
