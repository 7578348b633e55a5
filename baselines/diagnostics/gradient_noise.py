"""How much of a gradient is signal, and which batch would be worth its samples?

    |G|^2 = |mean g|^2 - tr S / B,   B_simple = tr S / |G|^2,   SNR = |G|^2 / tr S = 1 / B_simple

of gradients g of B samples with covariance S: a batch much smaller than B_simple is mostly noise,
a much larger one hardly better. Both are one estimate. |G|^2 may come out at or below 0, where B
samples do not suffice to tell it from 0: then B_simple is infinite, meaning "more than B".

From K micro-batches of b samples, B = K b, whose mean gradients are all that is needed:

    |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b),   tr S = (|g_b|^2 - |g_B|^2) / (1 / b - 1 / B)

Source: McCandlish, Kaplan and Amodei (2018), "An empirical model of large-batch training" (arXiv
1812.06162), equations 2.8 and A.1; the ratio per parameter: Liu et al. (2020), "Understanding why
neural networks generalize well through GSNR of parameters" (arXiv 2001.07384).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

DECAY = 0.99  # of the running means, per measurement
QUANTILES = (0.05, 0.5, 0.95)


class NoiseEstimate(NamedTuple):
    """The squared length of the true gradient and the trace of the samples' covariance."""

    signal: float  # |G|^2, not above 0 where it cannot be told from 0
    noise: float  # tr S

    @property
    def scale(self) -> float:
        """B_simple; infinite if the signal cannot be told from 0, NaN without gradients."""
        if self.signal > 0.0:
            return self.noise / self.signal
        return math.inf if self.noise > 0.0 else math.nan

    @property
    def ratio(self) -> float:
        """SNR = 1 / B_simple."""
        scale = self.scale
        return 1.0 / scale if scale > 0.0 else math.inf if scale == 0.0 else math.nan


class ParameterRatios(NamedTuple):
    """The signal-to-noise ratios of single parameters."""

    quantiles: tuple[float, ...]  # at `QUANTILES`, of the parameters that vary
    dead: float  # share of parameters whose gradient is the same for all samples


def noise_of_samples(gradients: torch.Tensor) -> NoiseEstimate:
    """Return the estimate from gradients of single samples, (B, d), at least two.

    Raises:
        ValueError: if there are fewer.
    """
    count = _checked(gradients, "samples")
    noise = float(gradients.double().var(dim=0, unbiased=True).sum())
    signal = float(gradients.double().mean(dim=0).square().sum()) - noise / count
    return NoiseEstimate(signal, noise)


def noise_of_batches(gradients: torch.Tensor, size: int) -> NoiseEstimate:
    """Return the estimate from the mean gradients of micro-batches, (K, d), at least two.

    Args:
        gradients: of each micro-batch.
        size: samples of each, b.

    Raises:
        ValueError: if there are fewer.
    """
    count = _checked(gradients, "micro-batches")
    whole = size * count
    small = float(gradients.double().square().sum(dim=1).mean())
    large = float(gradients.double().mean(dim=0).square().sum())
    signal = (whole * large - size * small) / (whole - size)
    return NoiseEstimate(signal, (small - large) / (1.0 / size - 1.0 / whole))


def parameter_ratios(gradients: torch.Tensor, size: int = 1) -> ParameterRatios:
    """Return max(0, mean^2 - variance / B) / variance of each parameter, in quantiles.

    Args:
        gradients: means of K micro-batches, (K, d), at least two.
        size: samples of each, b; the variance of a sample is b times theirs, and B = K b.

    Raises:
        ValueError: if there are fewer.
    """
    count = _checked(gradients, "micro-batches")
    values = gradients.double()
    variance = values.var(dim=0, unbiased=True)
    varies = variance > 0.0
    signal = (values.mean(dim=0).square() - variance / count).clamp(min=0.0)[varies]
    ratios = signal / (size * variance[varies])
    found = [math.nan] * len(QUANTILES)
    if len(ratios):
        found = torch.quantile(ratios, torch.tensor(QUANTILES, dtype=ratios.dtype)).tolist()
    return ParameterRatios(tuple(found), 1.0 - float(varies.double().mean()))


class RunningNoise:
    """Running means of signal and noise, apart: the mean of ratios would be biased."""

    def __init__(self, decay: float = DECAY) -> None:
        self._decay = decay
        self._weight = self._signal = self._noise = 0.0

    def add(self, found: NoiseEstimate) -> NoiseEstimate:
        """Count an estimate and return the means so far."""
        rest = 1.0 - self._decay
        self._weight = self._decay * self._weight + rest
        self._signal = self._decay * self._signal + rest * found.signal
        self._noise = self._decay * self._noise + rest * found.noise
        return NoiseEstimate(self._signal / self._weight, self._noise / self._weight)


def by_layer(sizes: Sequence[int], gradients: torch.Tensor, size: int = 1) -> list[NoiseEstimate]:
    """Return the estimate of each tensor of parameters.

    Args:
        sizes: numbers of parameters, which add up to d.
        gradients: means of micro-batches, (K, d).
        size: samples of each.
    """
    return [noise_of_batches(part, size) for part in gradients.split(list(sizes), dim=1)]


def _checked(gradients: torch.Tensor, what: str) -> int:
    count = len(gradients)
    if count < 2:
        raise ValueError(f"there are {count} {what}; an estimate of noise needs at least 2")
    return count
