"""Affine barriers against the linear system they are made for, and what is refused."""

import numpy as np
import pytest

from safe_envs.safety_filters import AffineBarrier, double_integrator_barrier
from safe_envs.safety_filters.barriers import resolved_barrier
from safe_envs.safety_filters.filter_plant import FilterPlant

PLANT = FilterPlant(low=-np.ones(1), high=np.ones(1))


def test_an_affine_barrier_bounds_how_fast_the_margin_is_used_up():
    barrier = double_integrator_barrier(decay=0.3)
    rng = np.random.default_rng(7)
    for _ in range(20):
        state, u = rng.normal(size=2), rng.normal(size=1)
        before = barrier.offsets - barrier.normals @ state
        after = barrier.offsets - barrier.normals @ (
            barrier.state_matrix @ state + barrier.input_matrix @ u
        )
        matrix, bounds = barrier(state, u)
        np.testing.assert_allclose(matrix @ u - bounds, after - 0.7 * before, atol=1e-12)


def test_refuses_affine_barriers_that_do_not_fit():
    good = [np.eye(2), np.ones((2, 1)), np.ones((3, 2)), np.ones(3)]
    for i, wrong in enumerate([np.eye(3), np.ones((3, 1)), np.ones((3, 1)), np.ones(2)]):
        with pytest.raises(ValueError, match="A, B, H and c have shapes .*; pass"):
            AffineBarrier(*(wrong if i == j else each for j, each in enumerate(good)))
    with pytest.raises(ValueError, match="decay is 0.0; pass a number in"):
        AffineBarrier(*good, decay=0.0)
    with pytest.raises(ValueError, match="max_speed is 16.0"):
        double_integrator_barrier(max_speed=16.0)
    with pytest.raises(ValueError, match="margin is -1.0; pass a number >= 0"):
        AffineBarrier(*good, margin=-1.0)


def test_a_margin_tightens_rows_in_units_of_u():
    loose, tight = (double_integrator_barrier(), double_integrator_barrier())
    tight = AffineBarrier(
        loose.state_matrix, loose.input_matrix, loose.normals, loose.offsets, loose.decay, 0.01
    )
    rows, bounds = loose(np.array([3.0, 1.0]), np.zeros(1))
    same, tighter = tight(np.array([3.0, 1.0]), np.zeros(1))
    np.testing.assert_array_equal(same, rows)
    np.testing.assert_allclose(tighter - bounds, 0.01 * np.abs(rows[:, 0]), rtol=1e-9)


def test_rows_of_a_batch_are_those_of_single_states():
    """Of a barrier with a batched form, and of a function without one."""
    barrier = double_integrator_barrier()
    rng = np.random.default_rng(8)
    states, references = rng.normal(size=(2, 20)), rng.normal(size=(1, 20))
    for given in (barrier, lambda state, reference: barrier(state, reference)):
        rows = resolved_barrier(given, PLANT)()
        matrices, bounds = rows.batch(states, references)
        for i in range(20):
            matrix, bound = rows.of(i)(states[:, i], references[:, i])
            np.testing.assert_array_equal(matrices[i], matrix)
            np.testing.assert_allclose(bounds[i], bound, atol=1e-12)
        states[0, 3] = np.nan
        with pytest.raises(ValueError, match="contain NaN or infinite entries"):
            rows.batch(states, references)
        states[0, 3] = 0.0


def test_an_environment_without_a_barrier_of_its_own_needs_one():
    with pytest.raises(ValueError, match="no barrier of its own; pass an AffineBarrier or"):
        resolved_barrier(None, PLANT)
