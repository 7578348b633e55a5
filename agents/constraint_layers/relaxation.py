"""Adaptive relaxation: bounds that are wide at first and end where they belong.

    eps_i(t) = eps0_i s(t),   s "linear": max(0, 1 - t / T),  "harmonic": 1 / (t + 1),
                              "linear_harmonic": max(0, 1 - t / T) / (t + 1)

eps0_i is the largest violation of row i over the training instances by the network's raw outputs,
so that at first none needs a repair. Both sides of a row are moved, equalities' too. Source: Chu,
Boukas and Udell, "SnareNet" (arXiv 2602.09317); of "linear_harmonic" it gives the name alone, and
the product above is this project's reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from agents.constraint_layers.output_rows import OutputRows
from safe_envs.action_constraints.rows import violation
from safe_envs.contract.argument_checks import check_choice, check_count

Shape = Literal["linear", "harmonic", "linear_harmonic"]
SHAPES = ("linear", "harmonic", "linear_harmonic")


def largest_violations(rows: OutputRows, outputs: torch.Tensor) -> torch.Tensor:
    """Return eps0, (k,): the largest violation of each row over the instances."""
    with torch.no_grad():
        return violation(rows.values(outputs), rows.lower, rows.upper).max(dim=0).values


@dataclass(frozen=True, eq=False)
class AdaptiveRelaxation:
    """How far bounds are moved at each step of a training.

    Args:
        start: eps0, (k,), from `largest_violations`.
        steps: T > 0; a "linear" or "linear_harmonic" relaxation is 0 from then on.
        shape: s.
    """

    start: torch.Tensor
    steps: int
    shape: Shape = "linear"

    def __post_init__(self) -> None:
        check_choice("shape", self.shape, SHAPES)
        check_count(steps=self.steps)

    def at(self, step: int) -> torch.Tensor:
        """Return eps, (k,), before step number 0, 1, ..."""
        share = 1.0 if self.shape == "harmonic" else max(0.0, 1.0 - step / self.steps)
        return self.start * (share if self.shape == "linear" else share / (step + 1))
