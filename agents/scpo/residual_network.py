"""The network of SCPO, whose output is zero before training."""

from __future__ import annotations

import torch
from torch import nn


class ResidualNetwork(nn.Module):
    """A deep network with skip connections whose output is zero at first.

        h_0 = act(W x + b),   h_i = h_{i-1} + act(W_i h_{i-1} + b_i),   output = V h_n + v

    with V = 0 and v = 0 at first. Source: Cao and Borrelli, SCPO (arXiv 2512.13788), figure 1.

    Differs from the paper: the paper specifies neither the connections between the repeated modules
    nor their activation. Without skip connections, plain gradient descent does not leave the zero
    function.

    Args:
        num_inputs: entries of x.
        num_outputs: entries of the output.
        width: units of every hidden layer.
        blocks: repeated modules n; the figure has seven.
        activation: of the hidden layers.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        width: int = 64,
        blocks: int = 7,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.hidden = HiddenLayers(num_inputs, width, blocks, activation)
        self.last = nn.Linear(width, num_outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs (..., num_outputs) for inputs (..., num_inputs)."""
        return self.last(self.hidden(x))


class HiddenLayers(nn.Module):
    """The layers before the last, h_0 to h_n."""

    def __init__(
        self, num_inputs: int, width: int, blocks: int, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.activation = activation()
        self.first = nn.Linear(num_inputs, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return h_n, (..., width)."""
        hidden = self.activation(self.first(x))
        for block in self.blocks:
            hidden = hidden + self.activation(block(hidden))
        return hidden
