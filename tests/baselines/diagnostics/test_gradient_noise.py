"""Estimates of gradient noise against numbers that are known by construction."""

import math

import numpy as np
import pytest
import torch

from baselines.diagnostics.gradient_noise import (
    NoiseEstimate,
    RunningNoise,
    by_layer,
    noise_of_batches,
    noise_of_samples,
    parameter_ratios,
)


def synthetic(seed, count=256, size=5000):
    """Samples of N(G, diag(s)), and |G|^2 and tr S by the very numbers they are drawn from."""
    rng = np.random.default_rng(seed)
    true, deviations = 0.02 * rng.standard_normal(size), rng.uniform(0.2, 0.6, size)
    drawn = true + deviations * rng.standard_normal((count, size))
    return torch.tensor(drawn), float(true @ true), float((deviations**2).sum())


def test_the_noise_scale_of_a_known_distribution():
    """Both estimators, ratios of means over 20 trials, within 10 percent."""
    samples, batches, truth = [], [], []
    for trial in range(20):
        drawn, signal, noise = synthetic(trial)
        samples.append(noise_of_samples(drawn))
        batches.append(noise_of_batches(drawn.reshape(8, 32, -1).mean(dim=1), 32))
        truth.append((signal, noise))
    wanted = np.mean([noise for _, noise in truth]) / np.mean([signal for signal, _ in truth])
    for found in (samples, batches):
        scale = np.mean([one.noise for one in found]) / np.mean([one.signal for one in found])
        assert scale == pytest.approx(wanted, rel=0.1)


def test_both_estimators_are_one_formula():
    """With micro-batches of a single sample they are equal, and SNR is the inverse."""
    drawn, _, _ = synthetic(1, 64, 300)
    one, other = noise_of_samples(drawn), noise_of_batches(drawn, 1)
    assert other.signal == pytest.approx(one.signal)
    assert other.noise == pytest.approx(one.noise)
    assert one.scale * one.ratio == pytest.approx(1.0)


def test_by_hand():
    gradients = torch.tensor([[1.0, 2.0, 5.0], [3.0, 2.0, 5.0], [5.0, 2.0, -4.0]])
    found = noise_of_samples(gradients)
    assert found.noise == pytest.approx(4.0 + 0.0 + 27.0)
    assert found.signal == pytest.approx((9.0 + 4.0 + 4.0) - 31.0 / 3.0)
    layers = by_layer([2, 1], gradients)
    assert [one.noise for one in layers] == pytest.approx([4.0, 27.0])
    ratios = parameter_ratios(gradients)
    assert ratios.dead == pytest.approx(1.0 / 3.0)
    assert ratios.quantiles[1] == pytest.approx(0.5 * ((9.0 - 4.0 / 3.0) / 4.0 + 0.0))


def test_a_signal_that_cannot_be_told_is_infinite_noise():
    found = noise_of_samples(torch.tensor([[1.0], [-1.0]]))
    assert found.signal < 0.0
    assert found.scale == math.inf
    assert found.ratio == 0.0
    assert math.isnan(noise_of_samples(torch.zeros(3, 2)).scale)
    assert math.isnan(parameter_ratios(torch.zeros(3, 2)).quantiles[0])
    with pytest.raises(ValueError, match="there are 1 samples"):
        noise_of_samples(torch.zeros(1, 2))


def test_running_means_divide_means():
    running = RunningNoise(decay=0.5)
    running.add(NoiseEstimate(-1.0, 4.0))
    found = running.add(NoiseEstimate(2.0, 10.0))
    assert found.signal == pytest.approx((0.25 * -1.0 + 0.5 * 2.0) / 0.75)
    assert found.noise == pytest.approx((0.25 * 4.0 + 0.5 * 10.0) / 0.75)
