"""How many directions a map keeps: ranks of Jacobians that count singular values softly.

    effective rank = exp(-sum p_k log p_k),   p_k = sigma_k / sum sigma
    stable rank    = sum sigma_k^2 / sigma_1^2

A projection on a constraint set keeps as many directions as there are outputs, less the equalities
and the inequalities that are active: that is the line to compare with.
Source: Roy and Vetterli, "The effective rank" (EUSIPCO 2007); Rudelson and Vershynin (2007).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

ZERO = 1e-12  # sums of singular values below are those of a zero matrix
LARGE = 0.1  # singular values above are counted


class Ranks(NamedTuple):
    """The ranks of a matrix."""

    effective: float
    stable: float
    largest: float  # singular value
    above: int  # singular values above 0.1


def ranks(singular_values: np.ndarray) -> Ranks:
    """Return the ranks of a matrix from its singular values, (k,)."""
    sizes = np.asarray(singular_values, dtype=np.float64)
    if sizes.sum() < ZERO:
        return Ranks(0.0, 0.0, float(sizes.max(initial=0.0)), 0)
    shares = sizes[sizes > 0.0] / sizes.sum()
    return Ranks(
        float(np.exp(-(shares * np.log(shares)).sum())),
        float((sizes**2).sum() / sizes.max() ** 2),
        float(sizes.max()),
        int((sizes > LARGE).sum()),
    )


def jacobian_ranks(outputs: torch.Tensor, inputs: torch.Tensor) -> list[Ranks]:
    """Return the ranks of d outputs / d inputs of each row of a batch.

    Args:
        outputs: (B, n), each row a function of the same row of the inputs.
        inputs: (B, m), with gradients.
    """
    rows = [
        torch.autograd.grad(one.sum(), inputs, retain_graph=True)[0]
        for one in outputs.unbind(dim=1)
    ]
    jacobians = torch.stack(rows, dim=1).double()  # (B, n, m)
    return [ranks(sizes) for sizes in torch.linalg.svdvals(jacobians).cpu().numpy()]
