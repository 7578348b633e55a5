import math

import pytest
import torch
from torch import nn

from baselines.diagnostics.gradient_conflict import ConflictRate, part_gradients


def test_cosines_by_hand():
    theta = nn.Parameter(torch.tensor([1.0, 2.0]))
    parts = {"a": 3.0 * theta[0], "b": theta[0] - theta[1], "still": 0.0 * theta.sum()}
    found = part_gradients(parts, [theta])
    assert found.norms == pytest.approx({"a": 3.0, "b": 2.0**0.5, "still": 0.0})
    assert found.cosines["a", "b"] == pytest.approx(0.5**0.5)
    assert math.isnan(found.cosines["a", "still"])
    assert theta.grad is None


def test_the_conflict_rate_counts_what_has_a_direction():
    rate = ConflictRate()
    assert math.isnan(rate.add(math.nan))
    assert rate.add(-0.1) == 1.0
    assert rate.add(0.2) == 0.5
    assert rate.add(math.nan) == 0.5
    for _ in range(100):
        last = rate.add(1.0)
    assert last == 0.0
