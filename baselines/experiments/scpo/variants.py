"""SCPO as in the paper and as in this project, for both of the paper's experiments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from agents.scpo.measured_constraint import ConstraintBatchFn, ConstraintFn
from agents.scpo.projection import WeightSpaceProjection

Variant = Literal["literal", "ours"]


@dataclass(frozen=True)
class VariantSettings:
    """The settings in which the two variants differ.

    Args:
        optimizer: "sgd" as in the paper, "adam", whose preconditioner is the metric of the
            projection, or "rms": Adam without momentum.
        learning_rate: the paper gives none.
        groups: parts of a minibatch with a column each; 0 for none.
        bank_size: m; the paper gives none.
        projection: further arguments of `WeightSpaceProjection`.
    """

    optimizer: Literal["sgd", "rms", "adam"]
    learning_rate: float
    groups: int
    bank_size: int
    projection: dict[str, Any]

    def make(
        self,
        params: Iterable[nn.Parameter],
        constraint_fn: ConstraintFn,
        constraint_batch_fn: ConstraintBatchFn | None = None,
    ) -> WeightSpaceProjection:
        """Return the projection with its optimizer."""
        params = list(params)
        return WeightSpaceProjection(
            params,
            self.base_optimizer(params),
            constraint_fn,
            bank_size=self.bank_size,
            constraint_batch_fn=constraint_batch_fn,
            **self.projection,
        )

    def base_optimizer(self, params: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer whose steps are projected."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(params, self.learning_rate)
        if self.optimizer == "rms":
            return torch.optim.Adam(params, self.learning_rate, betas=(0.0, 0.99), eps=1e-6)
        return torch.optim.Adam(params, self.learning_rate)

    def parts(self, feature: torch.Tensor) -> list[torch.Tensor] | None:
        """Return index tensors that split the samples by a feature of each, (n,), in order."""
        return list(torch.argsort(feature).tensor_split(self.groups)) if self.groups else None


def literal(learning_rate: float, bank_size: int = 16) -> VariantSettings:
    """Return the algorithm as printed, with the check that g is measured before acceptance."""
    as_printed = {"metric": "identity", "accept_measured": False, "sync_momentum": False}
    return VariantSettings("sgd", learning_rate, 0, bank_size, as_printed)


def ours(
    groups: int = 8, learning_rate: float = 1e-3, bank_size: int = 16, momentum: bool = True
) -> VariantSettings:
    """Return this project's default: Adam, its metric, and columns of parts of the minibatch."""
    optimizer: Literal["adam", "rms"] = "adam" if momentum else "rms"
    return VariantSettings(optimizer, learning_rate, groups, bank_size, {})
