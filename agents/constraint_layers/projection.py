"""Projection onto a convex set by cvxpylayers: argmin |y - raw|^2 subject to the rows.

Source: Agrawal et al., "Differentiable convex optimization layers" (arXiv 1910.12430); the package
cvxpylayers with the solver MOREAU, at tolerances that make its gradients right: with the package's
default, SCS at 1e-4, they were off by 3 percent in one of ten cases.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from agents.constraint_layers.layers import LayerInfo
from agents.constraint_layers.output_rows import Constraint, worst_violation
from safe_envs.action_constraints.rows import QuadraticRows
from safe_envs.contract.argument_checks import check_choice

TOLERANCE = 1e-6
Solver = Literal["MOREAU", "SCS", "SCS default"]
OPTIONS: dict[str, dict[str, Any]] = {
    "MOREAU": {},
    "SCS": {"eps": 1e-8, "solve_method": "SCS"},
    "SCS default": {},
}
ONE_SIDED = "a row with squares has to be convex: squares >= 0 and no lower bound"


class ProjectionLayer(nn.Module):
    """The nearest outputs that meet convex rows.

    Coefficients of the rows must not depend on x; bounds may.

    Args:
        constraint: `QuadraticRows` with a leading 1 in `linear` and `squares`.
        example: one x, (d,), by which the program is set up.
        solver: "MOREAU"; "SCS", with a tolerance of 1e-8, which is slower; or "SCS default", with
            the package's own tolerance, for comparisons.

    Raises:
        ImportError: if the packages of the extra `opt` are missing.
        ValueError: if the rows are not convex, or their coefficients depend on x.
    """

    def __init__(
        self,
        constraint: Constraint,
        example: torch.Tensor,
        solver: Solver = "MOREAU",
    ) -> None:
        super().__init__()
        check_choice("solver", solver, tuple(OPTIONS))
        self.constraint = constraint
        rows = constraint(example.double()[None])
        if not isinstance(rows, QuadraticRows):
            raise TypeError(f"the projection needs QuadraticRows; these are {type(rows).__name__}")
        plain = _plain(rows)
        kinds = row_kinds(plain)
        self._kinds = {name: torch.from_numpy(places) for name, places in kinds.items()}
        self._layer = _layer(plain, kinds, solver)
        self._options = OPTIONS[solver]

    def forward(self, raw: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, LayerInfo]:
        """Return the projected outputs, (B, n).

        Instances that are not finite are returned as they are and have not converged.

        Raises:
            ValueError: if a bound is finite at some x and infinite at the example, or the other
                way around, or an equality is none.
        """
        rows = self.constraint(x.double())
        start = raw.double()
        lower, upper = (one.expand(len(raw), -1) for one in (rows.lower, rows.upper))
        self._check_kinds(lower, upper)
        given = [lower[:, self._kinds["lower"]], upper[:, self._kinds["upper"]]]
        given = [start, lower[:, self._kinds["equal"]], *given]
        sound = torch.stack([torch.isfinite(one).all(-1) for one in given]).all(0)
        outputs = start.clone()
        if bool(sound.any()):
            used = [one[sound] for one in given if one.shape[1]]
            (found,) = self._layer(*used, solver_args=self._options)
            outputs = outputs.index_put((sound.nonzero()[:, 0],), found)
        outputs = outputs.to(raw.dtype)
        broken = worst_violation(rows, outputs)
        steps = torch.ones(len(raw), dtype=torch.int64, device=raw.device)
        return outputs, LayerInfo(steps, broken, sound & (broken <= TOLERANCE))

    def _check_kinds(self, lower: torch.Tensor, upper: torch.Tensor) -> None:
        equal, above, below = (self._kinds[name] for name in ("equal", "lower", "upper"))
        free = torch.ones(lower.shape[1], dtype=torch.bool)
        free[equal] = False
        has_lower, has_upper = free.clone(), free.clone()
        has_lower[above], has_upper[below] = False, False
        same = (lower[:, equal] == upper[:, equal]).all()
        if not (same and (lower[:, has_lower] == -torch.inf).all()) or not (
            (upper[:, has_upper] == torch.inf).all()
        ):
            raise ValueError(
                "which rows are equalities, and which bounds are infinite, must not depend on x"
            )


def row_kinds(rows: QuadraticRows) -> dict[str, np.ndarray]:
    """Return the places of equalities, and of finite lower and upper bounds of the other rows."""
    equal = rows.lower == rows.upper
    return {
        "equal": np.flatnonzero(equal),
        "lower": np.flatnonzero(np.isfinite(rows.lower) & ~equal),
        "upper": np.flatnonzero(np.isfinite(rows.upper) & ~equal),
    }


def _plain(rows: QuadraticRows) -> QuadraticRows:
    """Return the rows as NumPy arrays of one instance, checked."""
    for part in (rows.linear, rows.squares):
        if part is not None and part.shape[0] != 1:
            raise ValueError(
                "the rows' coefficients have one entry per instance; the projection needs "
                "coefficients that do not depend on x"
            )
    plain = QuadraticRows(*(None if one is None else one[0].numpy() for one in rows))
    if plain.squares is not None:
        curved = (plain.squares != 0.0).any(axis=1)
        if (plain.squares < 0.0).any() or (plain.lower[curved] > -np.inf).any():
            raise ValueError(ONE_SIDED)
    return plain


def _layer(rows: QuadraticRows, kinds: dict[str, np.ndarray], solver: str) -> Any:
    """Return the cvxpylayer of the raw outputs and the bounds of each kind that has any."""
    try:
        cp: Any = importlib.import_module("cvxpy")
        layers: Any = importlib.import_module("cvxpylayers.torch")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the projection needs {error.name}: pip install cvxpylayers moreau"
        ) from error
    n = rows.linear.shape[1]
    y, raw = cp.Variable(n), cp.Parameter(n)
    constraints, parameters = [], [raw]
    for name, places in kinds.items():
        if not len(places):
            continue
        bound = cp.Parameter(len(places))
        parameters.append(bound)
        values = rows.linear[places] @ y
        if name == "upper" and rows.squares is not None:
            values = values + rows.squares[places] @ cp.square(y)
        compared = {"equal": values == bound, "lower": values >= bound, "upper": values <= bound}
        constraints.append(compared[name])
    program = cp.Problem(cp.Minimize(cp.sum_squares(y - raw)), constraints)
    inner = solver if solver == "MOREAU" else "DIFFCP"
    return layers.CvxpyLayer(program, parameters=parameters, variables=[y], solver=inner)
