"""What the plot shows: extremes survive the binning, and labels do not overlap."""

import numpy as np
import pytest

from baselines.report.plots import alone, bin_extremes, log_bins, spread


@pytest.mark.parametrize("length", [1, 2, 50, 399, 10_000, 123_457])
def test_bins_cover_every_evaluation_once(length):
    starts = log_bins(length)
    assert starts[0] == 0
    assert starts[-1] < length
    assert (np.diff(starts) >= 1).all()
    assert len(starts) <= 400


def test_bins_keep_the_maximum_and_the_minimum():
    rng = np.random.default_rng(0)
    runs = [rng.lognormal(size=10_000) for _ in range(3)]
    x, lowest, highest = bin_extremes(runs)
    assert x[-1] == 10_000
    start = 0
    for last, low, high in zip(x, lowest, highest, strict=True):
        members = [run[start:last] for run in runs]
        assert low == min(map(min, members))
        assert high == max(map(max, members))
        start = last


@pytest.mark.parametrize("spike", [0, 1, 777, 9_998, 9_999])
def test_a_single_spike_is_drawn_at_its_height(spike):
    errors = np.full(10_000, 1e-12)
    errors[spike] = 0.5
    x, lowest, highest = bin_extremes([errors])
    assert highest.max() == 0.5
    where = int(highest.argmax())
    assert (0 if where == 0 else x[where - 1]) <= spike < x[where]
    assert lowest.min() == 1e-12


def test_labels_keep_their_order_and_distance():
    moved = spread(np.array([0.5, 0.02, 0.5, 0.99, 0.98]), 0.05, 0.0, 1.0)
    assert list(np.argsort(moved, kind="stable")) == [1, 0, 2, 4, 3]
    assert np.diff(np.sort(moved)).min() >= 0.05 - 1e-12
    assert moved.min() >= 0.0
    assert moved.max() <= 1.0
    np.testing.assert_array_equal(spread(np.array([0.2, 0.8]), 0.05, 0.0, 1.0), [0.2, 0.8])


def test_only_entries_without_a_neighbor_get_a_dot():
    chosen = np.array([True, False, True, True, False, False, True])
    assert alone(chosen).tolist() == [True, False, False, False, False, False, True]
