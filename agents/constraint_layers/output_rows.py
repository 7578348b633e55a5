"""Constraints on a network's outputs: lower(x) <= g(y, x) <= upper(x).

A constraint is a function from parameters x, (B, d), to rows at them. `QuadraticRows` are such
rows, with their own Jacobian; `FunctionRows` take any function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from safe_envs.action_constraints.rows import violation


class OutputRows(Protocol):
    """k rows on outputs of B instances; `QuadraticRows` is one."""

    @property
    def lower(self) -> torch.Tensor:
        """Lower bounds, (B or 1, k); -inf where there is none."""
        ...

    @property
    def upper(self) -> torch.Tensor:
        """Upper bounds, (B or 1, k)."""
        ...

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return g, (B, k), at outputs (B, n)."""
        ...

    def jacobian(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return dg/dy, (B, k, n)."""
        ...


Constraint = Callable[[torch.Tensor], OutputRows]  # of parameters x, (B, d)


@dataclass(frozen=True, eq=False)
class FunctionRows:
    """Rows of any differentiable function, whose Jacobian PyTorch derives.

    Args:
        function: g, from one output (n,) and one x (d,) to (k,), in PyTorch's operations.
        x: (B, d).
        lower: (B or 1, k).
        upper: (B or 1, k).
    """

    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    x: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return g, (B, k), at outputs (B, n)."""
        found: torch.Tensor = torch.func.vmap(self.function)(outputs, self.x)
        return found

    def jacobian(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return dg/dy, (B, k, n), by reverse differentiation."""
        found: torch.Tensor = torch.func.vmap(torch.func.jacrev(self.function))(outputs, self.x)
        return found


class MappedRows(NamedTuple):
    """Rows on y = offset + u basis, as rows on u: a network that gives u has them as its own.

    Args:
        rows: on y.
        offset: (B, n).
        basis: (p, n).
    """

    rows: OutputRows
    offset: torch.Tensor
    basis: torch.Tensor

    @property
    def lower(self) -> torch.Tensor:
        """The bounds of the rows on y."""
        return self.rows.lower

    @property
    def upper(self) -> torch.Tensor:
        """The bounds of the rows on y."""
        return self.rows.upper

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return g, (B, k), at u, (B, p)."""
        return self.rows.values(self.offset + outputs @ self.basis)

    def jacobian(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return dg/du, (B, k, p)."""
        return self.rows.jacobian(self.offset + outputs @ self.basis) @ self.basis.T


def function_constraint(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    lower: Callable[[torch.Tensor], torch.Tensor],
    upper: Callable[[torch.Tensor], torch.Tensor],
) -> Constraint:
    """Return the constraint lower(x) <= g(y, x) <= upper(x).

    Args:
        function: g, from one output (n,) and one x (d,) to (k,).
        lower: from x, (B, d), to (B or 1, k); -inf where there is no bound.
        upper: likewise.
    """
    return lambda x: FunctionRows(function, x, lower(x), upper(x))


def worst_violation(rows: OutputRows, outputs: torch.Tensor) -> torch.Tensor:
    """Return the largest violation of each instance, (B,), computed in float64 without gradient."""
    with torch.no_grad():
        found = violation(rows.values(outputs.double()), rows.lower, rows.upper)
        return found.max(dim=-1).values
