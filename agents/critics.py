"""Several value networks of one shape, evaluated and trained together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

SMALLEST_SCALE = 1e-4  # of the largest size that the signal has had
ROUNDING = 1e-6  # of a signal's size: what varies less has not varied
MOMENTUM = 0.9  # weight of the past in the running moments of the targets


class StackedCritics(nn.Module):
    """k multilayer perceptrons R^n -> R that share a shape and no weights.

    Each network learns its signal in its own units: outputs are mean + scale * network. When the
    running moments of the targets change, the last layer is rescaled so that the outputs do not
    (van Hasselt et al. (2016), "Learning values across many orders of magnitude"). The scale is 0
    until a signal has varied: a critic that has learned nothing says the mean, whatever the units.
    All weights are
    one parameter of shape (k, number of weights), so that k networks cost one batched matrix
    product per layer.

    Args:
        inputs: length n of the features.
        hidden: widths of the hidden layers.
        count: number of networks k.
        activation: activation module class.
        orthogonal: initialize weights orthogonally (Stable-Baselines3's gains), else PyTorch's
            default for linear layers.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        count: int,
        activation: type[nn.Module] = nn.Tanh,
        orthogonal: bool = True,
    ) -> None:
        super().__init__()
        self.widths = (inputs, *hidden, 1)
        self.count = count
        self._shapes = list(pairwise(self.widths))
        self._sizes = [size for rows, columns in self._shapes for size in (rows * columns, columns)]
        self.weight = nn.Parameter(torch.empty(count, sum(self._sizes)))
        self.activation = activation()
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.second_moment: torch.Tensor
        self.updates: torch.Tensor
        self.largest: torch.Tensor
        for name in ("mean", "scale", "second_moment", "largest"):
            self.register_buffer(name, torch.zeros(count, dtype=torch.float64))
        self.register_buffer("updates", torch.zeros(()))
        self._initialize(orthogonal)

    def standardized(self, features: torch.Tensor) -> torch.Tensor:
        """Return the networks' outputs in their own units, (batch, n) -> (batch, k)."""
        parts = self.weight.split(self._sizes, dim=1)
        out = features.expand(self.count, *features.shape)  # (k, batch, n)
        last = len(self._shapes) - 1
        for layer, (rows, columns) in enumerate(self._shapes):
            weight = parts[2 * layer].view(self.count, rows, columns)
            bias = parts[2 * layer + 1].view(self.count, 1, columns)
            out = torch.baddbmm(bias, out, weight)
            if layer < last:
                out = self.activation(out)
        return out.squeeze(-1).t()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the values, (batch, n) -> (batch, k)."""
        return self.in_real_units(self.standardized(features))

    def in_real_units(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the values that the networks' outputs mean, (batch, k) -> (batch, k)."""
        return self.mean.to(outputs.dtype) + self.scale.to(outputs.dtype) * outputs

    def in_own_units(self, targets: torch.Tensor) -> torch.Tensor:
        """Return targets as the networks see them, (batch, k) -> (batch, k)."""
        scale = torch.where(self.scale > 0, self.scale, math.inf)  # 0: the mean, up to rounding
        return ((targets - self.mean) / scale).to(self.weight.dtype)

    @torch.no_grad()
    def track(self, targets: torch.Tensor) -> None:
        """Move mean and scale toward the targets', (batch, k), without changing any output."""
        targets = targets.double()
        self.updates += 1
        # Unbiased from the first call, as Adam's moments are.
        rate = (1 - MOMENTUM) / (1 - MOMENTUM ** float(self.updates))
        mean = torch.lerp(self.mean, targets.mean(0), rate)
        self.second_moment.lerp_(targets.square().mean(0), rate)
        self.largest.copy_(torch.maximum(self.largest, self.second_moment.sqrt()))
        variance = (self.second_moment - mean.square()).clamp_min(0.0)
        varied = (self.scale > 0) | (variance > (ROUNDING * self.largest) ** 2)
        scale = torch.maximum(variance.sqrt(), SMALLEST_SCALE * self.largest)
        scale = torch.where(varied & (scale > 0), scale, self.scale)
        self._rescale(mean, scale)
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def _rescale(self, mean: torch.Tensor, scale: torch.Tensor) -> None:
        """Change the last layer so that mean + scale * network stays what it is."""
        had_scale = self.scale > 0  # else the outputs were the mean, and the layer starts now
        ratio = torch.where(had_scale, self.scale / scale, 1.0)
        shift = torch.where(had_scale, (self.mean - mean) / scale, 0.0)
        parts = self.weight.split(self._sizes, dim=1)
        parts[-2].mul_(ratio[:, None])
        parts[-1].mul_(ratio[:, None]).add_(shift[:, None])

    def _initialize(self, orthogonal: bool) -> None:
        with torch.no_grad():
            parts = self.weight.split(self._sizes, dim=1)
            for layer, (rows, columns) in enumerate(self._shapes):
                weights = parts[2 * layer].view(self.count, rows, columns)
                bias = parts[2 * layer + 1]
                gain = math.sqrt(2) if layer < len(self._shapes) - 1 else 1.0
                bound = 1.0 / math.sqrt(rows)
                for row in range(self.count):
                    if orthogonal:
                        nn.init.orthogonal_(weights[row].t(), gain)
                        bias[row].zero_()
                    else:
                        weights[row].uniform_(-bound, bound)
                        bias[row].uniform_(-bound, bound)
