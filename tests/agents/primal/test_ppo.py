import math

import pytest
import torch

from agents.primal.ppo import clipped_loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.1, 2.0, -2.2),
        (1.5, 2.0, -2.4),  # clipped at 1.2
        (0.5, 2.0, -1.0),  # not clipped: the bound is from below
        (0.9, -3.0, 2.7),
        (0.5, -3.0, 2.4),  # clipped at 0.8
        (1.5, -3.0, 4.5),
        (1.5, 0.0, 0.0),
    ],
)
def test_values_by_hand(ratio, advantage, loss):
    found = clipped_loss(torch.tensor([math.log(ratio)]), torch.tensor([advantage]), 0.2)
    assert found.tolist() == pytest.approx([loss], rel=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "slope"),
    [
        (1.3, 2.0, 0.0),
        (0.7, -2.0, 0.0),
        (1.1, 2.0, -2.2),  # d/dx of -e^x A
        (0.7, 2.0, -1.4),
        (1.3, -2.0, 2.6),
    ],
)
def test_no_gradient_beyond_the_clip(ratio, advantage, slope):
    log_ratio = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    clipped_loss(log_ratio, torch.tensor([advantage], dtype=torch.float64), 0.2).sum().backward()
    assert log_ratio.grad.tolist() == pytest.approx([slope], abs=1e-12)


def test_equals_the_definition():
    """min(rho A, clip(rho) A) written with the sign of A, as in the paper's figure 1."""
    generator = torch.Generator().manual_seed(0)
    x, advantage = torch.randn(2, 500, generator=generator, dtype=torch.float64)
    ratio = x.exp()
    gain = torch.where(advantage >= 0, ratio.clamp(max=1.1), ratio.clamp(min=0.9)) * advantage
    torch.testing.assert_close(clipped_loss(x, advantage, 0.1), -gain)
