"""What the parity command computes, against SciPy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from safe_envs.safety_gymnasium_bridge.parity.figures import (
    divergence,
    paired_z,
    z_of_difference,
)


def test_z_equals_scipys_statistics():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(1.0, 2.0, 50), rng.normal(0.5, 1.0, 40)
    welch = stats.ttest_ind(ours, theirs, equal_var=False).statistic
    assert z_of_difference(ours, theirs) == pytest.approx(welch)
    paired = stats.ttest_rel(ours[:40], theirs).statistic
    assert paired_z(ours[:40], theirs) == pytest.approx(paired)


@pytest.mark.parametrize("z", [z_of_difference, paired_z])
def test_z_of_sides_that_do_not_vary(z):
    assert z(np.ones(5), np.ones(5)) == 0.0
    assert z(np.ones(5), np.zeros(5)) == math.inf
    assert z(np.zeros(5), np.ones(5)) == -math.inf


def episode(observations, costs=None):
    observations = np.asarray(observations, dtype=float)[:, None]
    steps = len(observations) - 1
    costs = np.zeros(steps) if costs is None else np.asarray(costs, dtype=float)
    return {"observations_0": observations, "rewards_0": np.arange(steps) + 0.5, "costs_0": costs}


def test_divergence_by_hand():
    ours = episode([0.0, 1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1])
    theirs = episode([1e-9, 1.0 + 2e-7, 2.0, 3.1, 9.0], [1, 1, 0, 0])
    found = divergence(ours, theirs, row=0)
    assert found.at_reset == pytest.approx(1e-9)
    assert found.at_first_step == pytest.approx(2e-7)
    assert (found.reward_at_first_step, found.parted, found.steps) == (0.0, 3, 4)
    assert (found.mismatches_before, found.mismatches) == (1, 2)
    assert divergence(ours, theirs, row=0, tolerance=0.5).parted == 4
    assert divergence(ours, theirs, row=0, tolerance=1e-10).parted == 0


def test_equal_episodes_never_part():
    found = divergence(episode([0, 1, 2]), episode([0, 1, 2]), row=0)
    assert (found.parted, found.at_reset, found.steps, found.mismatches) == (None, 0.0, 2, 0)


def test_an_episode_that_ends_sooner_has_parted():
    found = divergence(episode([0, 1, 2, 3]), episode([0, 1, 2]), row=0)
    assert (found.parted, found.steps) == (2, 2)


def test_nan_has_parted():
    assert divergence(episode([0, 1, np.nan]), episode([0, 1, 2]), row=0).parted == 2


def test_other_observations_are_refused():
    other = episode([0, 1]) | {"observations_0": np.zeros((2, 3))}
    with pytest.raises(ValueError, match="shapes \\(1,\\) and \\(3,\\); compare one task"):
        divergence(episode([0, 1]), other, row=0)
