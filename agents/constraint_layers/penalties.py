"""Soft penalties for violated constraints.

    "norm":     mu_u |relu(g - u)|_2 + mu_l |relu(l - g)|_2       (equation 2 of the report)
    "squared":  mu_u |relu(g - u)|_2^2 + mu_l |relu(l - g)|_2^2   (SnareNet's, whose weight is 10)

Source: Wallaert, "Safe & Constrained AI", equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from agents.constraint_layers.output_rows import OutputRows
from safe_envs.action_constraints.rows import beyond
from safe_envs.contract.argument_checks import check_choice, check_not_negative


@dataclass(frozen=True)
class SoftPenalty:
    """The price of violated rows, per instance.

    Args:
        upper_weight: mu_u, of values above their upper bounds.
        lower_weight: mu_l, of values below their lower bounds.
        kind: "squared" or "norm".
    """

    upper_weight: float = 10.0
    lower_weight: float = 10.0
    kind: Literal["squared", "norm"] = "squared"

    def __post_init__(self) -> None:
        check_not_negative(upper_weight=self.upper_weight, lower_weight=self.lower_weight)
        check_choice("kind", self.kind, ("squared", "norm"))

    def __call__(self, outputs: torch.Tensor, rows: OutputRows) -> torch.Tensor:
        """Return the penalty of outputs (B, n), (B,)."""
        values = rows.values(outputs)
        above, below = beyond(values, rows.lower, rows.upper)
        return self.upper_weight * self._size(above) + self.lower_weight * self._size(below)

    def _size(self, broken: torch.Tensor) -> torch.Tensor:
        if self.kind == "squared":
            return broken.square().sum(-1)
        return torch.linalg.vector_norm(broken, dim=-1)
