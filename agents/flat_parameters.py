"""Parameters and gradients of a network as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

Parameters = Sequence[nn.Parameter]


def flat_values(parameters: Parameters) -> torch.Tensor:
    """Return a copy of all parameters as one vector, (d,)."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters])


def set_flat_values(parameters: Parameters, values: torch.Tensor) -> None:
    """Set all parameters from one vector, (d,)."""
    with torch.no_grad():
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, part in zip(parameters, values.split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))


def flat_gradient(
    scalar: torch.Tensor,
    parameters: Parameters,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> torch.Tensor:
    """Return the gradient as one vector, (d,), 0 where a parameter does not matter."""
    parts = torch.autograd.grad(
        scalar,
        list(parameters),
        create_graph=create_graph,
        retain_graph=create_graph or retain_graph,
        materialize_grads=True,
    )
    return torch.cat([part.reshape(-1) for part in parts])
