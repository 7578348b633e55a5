"""What stands between a network and the outputs of a problem."""

from __future__ import annotations

import torch

from agents.constraint_layers.null_space import NullSpaceHead
from agents.constraint_layers.output_rows import Constraint
from safe_envs.control.quadratic_families import QuadraticFamily


class OutputHead:
    """What stands between the network and y: nothing, or the null space of the equalities."""

    def __init__(self, family: QuadraticFamily, head: str) -> None:
        self._null = NullSpaceHead(family.equalities) if head == "null" else None
        self.num_raw = family.sizes[0] if self._null is None else self._null.num_free
        self.constraint: Constraint = family.rows
        if self._null is not None:
            self.constraint = self._null.constraint(family.inequality_rows)

    def outputs(self, raw: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return y, (B, n)."""
        return raw if self._null is None else self._null(raw, x)
