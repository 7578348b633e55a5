"""Grids have the steps that are written out here by hand."""

import pytest

from leaderboard.scores.rounding_grid import Grid, grid_for, nice_grid


@pytest.mark.parametrize(
    ("size", "below", "above"),
    [
        (0.013, 0.01, 0.02),
        (0.02, 0.02, 0.02),
        (0.3 / 3, 0.1, 0.1),
        (0.49, 0.2, 0.5),
        (7.0, 5.0, 10.0),
        (999.9, 500.0, 1000.0),
    ],
)
def test_next_step(size, below, above):
    assert nice_grid(size, (1, 2, 5)).step == below
    assert nice_grid(size, (1, 2, 5, 10), up=True).step == above


def test_the_coarsest_step_counts():
    assert grid_for(0.1504).step == 0.001  # three digits
    assert grid_for(0.1504, supported=0.03).step == 0.02
    assert grid_for(0.1504, supported=0.03, hidden=0.03).step == 0.05
    assert grid_for(1234.5).step == 10.0
    assert grid_for(0.0).step == 1e-12


def test_multiples_are_the_floats_of_their_decimals():
    grid = Grid(1, -1)
    assert [grid.nearest(value) for value in (0.25, 0.3, 0.1 + 0.2, -0.25)] == [0.3, 0.3, 0.3, -0.2]
    assert [grid.below(value) for value in (0.29, 0.1 + 0.2, 0.3, -0.01)] == [0.2, 0.3, 0.3, -0.1]
    assert [grid.above(value) for value in (0.21, 0.1 + 0.2, 0.3, -0.01)] == [0.3, 0.3, 0.3, 0.0]


@pytest.mark.parametrize(
    ("value", "limit", "nearest", "upward"),
    [
        (0.1504, 0.15, 0.16, 0.16),  # above the limit, though it rounds to it
        (0.1496, 0.15, 0.14, 0.14),  # within it, though it rounds to more; 0.15 is no multiple
        (0.13, 0.15, 0.14, 0.14),
        (0.121, 0.15, 0.12, 0.14),
        (0.191, 0.15, 0.2, 0.2),
        (0.14, 0.14, 0.14, 0.14),
        (0.1400001, 0.14, 0.16, 0.16),
        (0.0, 0.0, 0.0, 0.0),
        (0.001, 0.0, 0.02, 0.02),
    ],
)
def test_numbers_stay_on_their_side_of_a_limit(value, limit, nearest, upward):
    grid = Grid(2, -2)
    assert grid.beside(value, limit) == nearest
    assert grid.beside(value, limit, up=True) == upward
