"""The networks that constraint layers are put behind: from parameters x to raw outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


@dataclass(frozen=True)
class NetworkSetting:
    """A network.

    Args:
        kind: "mlp", or "transformer": a token per entry of x and a learned query per output,
            pre-norm encoder layers, one linear map from each query to its output.
        width: of the hidden layers, or of the tokens.
        depth: hidden layers, or encoder layers.
        activation: "relu" or "silu".
        batch_norm: after each hidden layer of an MLP.
        dropout: share of hidden units that a training step leaves out.
    """

    kind: Literal["mlp", "transformer"] = "mlp"
    width: int = 200
    depth: int = 2
    activation: Literal["relu", "silu"] = "relu"
    batch_norm: bool = False
    dropout: float = 0.0

    def make(self, inputs: int, outputs: int) -> nn.Module:
        """Return the network, from (B, inputs) to (B, outputs)."""
        if self.kind == "transformer":
            return QueryTransformer(inputs, outputs, self.width, self.depth, self.dropout)
        layers: list[nn.Module] = []
        before = inputs
        for _ in range(self.depth):
            layers.append(nn.Linear(before, self.width))
            layers += [nn.BatchNorm1d(self.width)] if self.batch_norm else []
            layers.append(ACTIVATIONS[self.activation]())
            layers += [nn.Dropout(self.dropout)] if self.dropout else []
            before = self.width
        return nn.Sequential(*layers, nn.Linear(before, outputs))


class QueryTransformer(nn.Module):
    """A transformer encoder over the entries of x and one query per output.

    Args:
        inputs: entries of x.
        outputs: n.
        width: of the tokens; a multiple of 4, for 4 heads of attention.
        depth: encoder layers, with feed-forward layers of twice the width.
        dropout: in the encoder.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.entry = nn.Linear(1, width)
        self.places = nn.Parameter(torch.randn(inputs, width) / width**0.5)
        self.queries = nn.Parameter(torch.randn(outputs, width) / width**0.5)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.answer = nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return raw outputs (B, n) for x (B, d)."""
        tokens = self.entry(x[:, :, None]) + self.places
        queries = self.queries.expand(len(x), -1, -1)
        seen = self.encoder(torch.cat([tokens, queries], dim=1))
        found: torch.Tensor = self.answer(seen[:, tokens.shape[1] :])[:, :, 0]
        return found
