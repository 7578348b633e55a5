"""A head that satisfies linear equalities exactly: y = A+ x + Z u, for A y = x."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from agents.constraint_layers.output_rows import Constraint, MappedRows, OutputRows
from safe_envs.contract.argument_checks import checked_array

FULL_RANK = 1e-10  # the smallest singular value of A, relative to the largest


class NullSpaceHead(nn.Module):
    """Maps n - m free numbers to n outputs with A y = x.

    Args:
        equalities: A, (m, n), m < n, of full row rank.

    Raises:
        ValueError: if A has another shape, is not finite, or its rows depend on each other: then
            some x have no solution.
    """

    particular: torch.Tensor  # A+', (m, n)
    basis: torch.Tensor  # Z', (n - m, n)

    def __init__(self, equalities: np.ndarray) -> None:
        super().__init__()
        matrix = np.asarray(equalities, dtype=np.float64)
        if matrix.ndim != 2 or not 0 < matrix.shape[0] < matrix.shape[1]:
            raise ValueError(
                f"the equalities have shape {matrix.shape}; pass (m, n) with 0 < m < n, so that "
                "something is left to choose"
            )
        matrix = checked_array("the equalities", matrix, matrix.shape)
        _, sizes, right = np.linalg.svd(matrix)
        if sizes[-1] <= FULL_RANK * sizes[0]:
            raise ValueError(
                f"the rows of the equalities depend on each other: their singular values go from "
                f"{sizes[0]:g} to {sizes[-1]:g}; leave out rows that others imply"
            )
        self.register_buffer("particular", torch.tensor(np.linalg.pinv(matrix).T))
        self.register_buffer("basis", torch.tensor(right[len(matrix) :]))
        self.num_free = matrix.shape[1] - matrix.shape[0]

    def constraint(self, on_outputs: Constraint) -> Constraint:
        """Return a constraint on y as one on the free numbers u."""

        def rows(x: torch.Tensor) -> OutputRows:
            offset = x @ self.particular.to(x.dtype)
            return MappedRows(on_outputs(x), offset, self.basis.to(x.dtype))

        return rows

    def forward(self, free: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return y, (B, n), for free numbers u, (B, n - m), and right sides x, (B, m)."""
        particular, basis = self.particular.to(free.dtype), self.basis.to(free.dtype)
        return x.to(free.dtype) @ particular + free @ basis
