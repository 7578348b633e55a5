"""Layers that move a network's outputs to where they meet their constraints.

Each is called as `layer(raw, x) -> (outputs, info)`: raw outputs (B, n) of any network, and the
parameters x (B, d) that the constraint depends on. They compute in float64 and return the type of
the raw outputs; `info` tells what holds of the outputs as they are returned.

- `RepairLayer`: Levenberg-Marquardt steps, for any differentiable constraint.
- `AffineLayer`: one step, exact for linear rows that do not depend on each other: the form of Min
  and Azizan, "HardNet" (arXiv 2410.10807).
- `HalfSpaceLayer`: the nearest point of a box and a half-space.
- `IntervalLayer`: the nearest number of an interval.

The projection by cvxpylayers is in `agents.constraint_layers.projection`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from agents.constraint_layers.output_rows import Constraint, OutputRows, worst_violation
from safe_envs.action_constraints.exact import Exact, half_space, interval
from safe_envs.action_constraints.repair import RepairSettings, repair
from safe_envs.action_constraints.rows import QuadraticRows, residual
from safe_envs.contract.argument_checks import checked_array

EXACT_TOLERANCE = 1e-6  # by which an exact layer's outputs may miss, in the type of the raw outputs


class LayerInfo(NamedTuple):
    """What a layer did with B outputs."""

    iterations: torch.Tensor  # (B,) steps taken
    violation: torch.Tensor  # (B,) float64: the largest of the rows', of the returned outputs
    converged: torch.Tensor  # (B,) whether it is within the layer's tolerance


class RepairLayer(nn.Module):
    """Levenberg-Marquardt repair, see `safe_envs.action_constraints.repair`.

    Without a penalty on the raw outputs a training through this layer tends to collapse: the raw
    outputs drift away, and the layer's Jacobian loses the rows that were ever active.

    Args:
        constraint: on the outputs.
        settings: of the steps.
        weights: of the rows, (k,), > 0; None for 1.

    Attributes:
        relaxation: by how much bounds are moved outward in training mode, a number or (k,);
            nothing in evaluation mode.
    """

    def __init__(
        self,
        constraint: Constraint,
        settings: RepairSettings | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.constraint = constraint
        self.settings = RepairSettings() if settings is None else settings
        self.relaxation: torch.Tensor | float = 0.0
        self.weights: torch.Tensor | None = None
        if weights is not None:
            given = checked_array("weights", weights, (np.size(weights),))
            if not (given > 0.0).all():
                raise ValueError(f"weights are {given.tolist()}; pass numbers > 0")
            self.weights = torch.tensor(given)

    def forward(self, raw: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, LayerInfo]:
        """Return the repaired outputs, (B, n)."""
        rows = self.constraint(x.double())
        lower, upper = rows.lower, rows.upper
        if self.training:
            lower, upper = lower - self.relaxation, upper + self.relaxation
        weights = None if self.weights is None else self.weights.to(raw.device)
        found = repair(
            raw.double(), rows.values, rows.jacobian, lower, upper, self.settings, weights
        )
        outputs = found.outputs.to(raw.dtype)
        broken = found.violation
        if raw.dtype != torch.float64:
            broken = worst_violation(_Bounded(rows, lower, upper), outputs)
        return outputs, LayerInfo(found.iterations, broken, broken <= self.settings.tolerance)


class _Bounded(NamedTuple):
    """Rows with other bounds."""

    rows: OutputRows
    lower: torch.Tensor
    upper: torch.Tensor

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        return self.rows.values(outputs)

    def jacobian(self, outputs: torch.Tensor) -> torch.Tensor:
        return self.rows.jacobian(outputs)


class AffineLayer(nn.Module):
    """One exact step for linear rows: y = raw - J+ r, with r = g(raw) - P(g(raw)).

    With more rows than outputs, or rows that depend on each other, one step need not suffice;
    `converged` tells for each instance.

    Args:
        constraint: with linear rows.
    """

    def __init__(self, constraint: Constraint) -> None:
        super().__init__()
        self.constraint = constraint

    def forward(self, raw: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, LayerInfo]:
        """Return the outputs, (B, n).

        Raises:
            ValueError: if the rows have squares.
        """
        rows = self.constraint(x.double())
        if getattr(rows, "squares", None) is not None:
            raise ValueError("the rows have squares; use RepairLayer")
        start = raw.double()
        r = residual(rows.values(start), rows.lower, rows.upper)
        sound = torch.isfinite(r).all(-1, keepdim=True)
        r = torch.where(sound, r, torch.zeros_like(r))
        step = torch.linalg.pinv(rows.jacobian(start)) @ r[:, :, None]
        return _told(raw, start - step[:, :, 0], rows)


class HalfSpaceLayer(nn.Module):
    """The nearest point of a box that meets a single linear row with one bound.

    Args:
        constraint: with one linear row, bounded on one side.
        low: of the box, finite, (n,).
        high: likewise.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, constraint: Constraint, low: np.ndarray, high: np.ndarray) -> None:
        super().__init__()
        self.constraint = constraint
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float64))
        self.register_buffer("high", torch.as_tensor(high, dtype=torch.float64))

    def forward(self, raw: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, LayerInfo]:
        """Return the outputs, (B, n); where none is feasible, the least infeasible one.

        Raises:
            ValueError: if there is more than one row, it has a square, or two bounds.
        """
        rows = _quadratic(self.constraint(x.double()))
        both = torch.isfinite(rows.lower) & torch.isfinite(rows.upper)
        if rows.linear.shape[1] != 1 or rows.squares is not None or both.any():
            raise ValueError(
                "a half-space is one linear row with one bound; use RepairLayer for other rows"
            )
        sign = torch.where(torch.isfinite(rows.upper), -1.0, 1.0)  # u <= upper is -u >= -upper
        normal = (sign[:, :, None] * rows.linear)[:, 0].expand(raw.shape)
        bound = torch.where(sign < 0.0, -rows.upper, rows.lower)[:, 0].expand(len(raw))
        return _exactly(raw, half_space(raw.double(), normal, bound, self.low, self.high), rows)


class IntervalLayer(nn.Module):
    """The nearest number that meets rows on a single output.

    Args:
        constraint: rows as `safe_envs.action_constraints.interval` takes them.
        low: finite.
        high: finite.
    """

    def __init__(self, constraint: Constraint, low: float, high: float) -> None:
        super().__init__()
        self.constraint = constraint
        self.low, self.high = float(low), float(high)

    def forward(self, raw: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, LayerInfo]:
        """Return the outputs, (B, 1); where none is feasible, see `interval`."""
        rows = _quadratic(self.constraint(x.double()))
        start = raw.double()
        found = interval(start, rows, start.new_tensor([self.low]), start.new_tensor([self.high]))
        return _exactly(raw, found, rows)


def _quadratic(rows: OutputRows) -> QuadraticRows:
    if not isinstance(rows, QuadraticRows):
        raise TypeError(
            f"an exact layer needs QuadraticRows, and the constraint gave "
            f"{type(rows).__name__}; use RepairLayer"
        )
    return rows


def _exactly(raw: torch.Tensor, found: Exact, rows: OutputRows) -> tuple[torch.Tensor, LayerInfo]:
    outputs, info = _told(raw, found.outputs, rows)
    return outputs, info._replace(converged=info.converged & found.feasible)


def _told(
    raw: torch.Tensor, found: torch.Tensor, rows: OutputRows
) -> tuple[torch.Tensor, LayerInfo]:
    """Return outputs in the type of the raw ones, and what holds of them after one step."""
    outputs = found.to(raw.dtype)
    broken = worst_violation(rows, outputs)
    steps = torch.ones(len(raw), dtype=torch.int64, device=raw.device)
    return outputs, LayerInfo(steps, broken, broken <= EXACT_TOLERANCE)
