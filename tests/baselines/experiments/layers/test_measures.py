"""Measures of outputs against numbers by hand and known ranks."""

import numpy as np
import pytest

from baselines.experiments.layers.measures import quality
from safe_envs.control.quadratic_families import QuadraticFamily

# min y1^2 / 2 + y2  s.t.  y1 + y2 = x,  -y1 <= 0: at x, y1 = 1 is best, f* = x - 1/2.
FAMILY = QuadraticFamily(
    curvature=np.array([1.0, 0.0]),
    slope=np.array([0.0, 1.0]),
    sine=False,
    equalities=np.array([[1.0, 1.0]]),
    inequalities=np.array([[-1.0, 0.0]]),
    bounds=np.array([0.0]),
    instances=np.array([[0.0], [2.0], [5.0]]),
)


def test_quality_by_hand():
    x = FAMILY.instances
    outputs = np.array([[1.0, -1.0], [2.0, 0.0], [-1.0, 5.5]])
    found = quality(FAMILY, x, outputs, x[:, 0] - 0.5)
    gaps = np.array([0.0, 0.5, 1.5])  # the last one breaks y1 >= 0 by 1 and the equality by 0.5
    assert found.gap_mean == pytest.approx(gaps.mean())
    assert found.gap_geometric == pytest.approx((1e-16 * 0.5 * 1.5) ** (1 / 3))
    assert (found.gap_max, found.gap_min) == (1.5, 0.0)
    assert found.relative_gap == pytest.approx(gaps.mean() / (7.0 / 3 - 0.5))
    assert found.violation_mean == pytest.approx(1.0 / 3.0)
    assert found.violation_max == pytest.approx(1.0)
    assert found.feasible == pytest.approx((2 / 3,) * 3)
    assert found.solved == pytest.approx(1 / 3)


def test_outputs_that_are_not_finite_are_refused():
    outputs = np.array([[1.0, -1.0], [np.nan, 0.0], [0.0, np.inf]])
    with pytest.raises(ValueError, match="2 of 3 outputs are not finite; the training diverged"):
        quality(FAMILY, FAMILY.instances, outputs, np.zeros(3))
