"""Tile coding against counts measured with another implementation, and against its geometry."""

import numpy as np
import pytest

from agents.tabular import lin_npg_pd, one_hot, ppqa_alm, tile_coding
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.deep_sea_treasure import deep_sea_treasure_model
from safe_envs.tabular.random_cmdp import random_cmdp

CLIFF, DEEP_SEA = cliff_world_model(), deep_sea_treasure_model()


def used_and_rank(table):
    rows = table.reshape(-1, table.shape[2])
    return int(rows.any(axis=0).sum()), int(np.linalg.matrix_rank(rows))


@pytest.mark.parametrize(
    ("coordinates", "actions", "setting", "expected"),
    [
        (np.arange(21), 4, (80, 5, 3), (76, 60)),
        (np.arange(21), 4, (40, 5, 3), (40, 40)),
        (CLIFF.coordinates, 4, (200, 4, 3), (152, 80)),
        (np.arange(25), 2, (80, 5, 3), (38, 30)),
        (np.arange(25), 2, (40, 5, 3), (38, 30)),
        (DEEP_SEA.coordinates, 2, (200, 4, 3), (84, 46)),
    ],
)
def test_entries_in_use_and_rank(coordinates, actions, setting, expected):
    table = tile_coding(coordinates, actions, *setting)
    assert table.shape == (len(coordinates), actions, setting[0])
    assert used_and_rank(table) == expected


def test_every_tiling_sets_one_entry():
    table = tile_coding(CLIFF.coordinates, 4)
    assert set(np.unique(table)) == {0.0, 1.0}
    np.testing.assert_array_equal(table.sum(axis=2), 4.0)


def test_tiles_shared_by_two_states_are_those_not_cut_between_them():
    # 12 cells, 4 tilings of 3 tiles: a tile spans 4 cells and tiling k is shifted by k of them,
    # so two cells at distance d share 4 - d tiles, and none from distance 4 on.
    table = tile_coding(np.arange(12), 1)[:, 0]
    distance = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    np.testing.assert_array_equal(table @ table.T, np.maximum(4 - distance, 0))


def test_actions_share_nothing():
    table = tile_coding(CLIFF.coordinates, 4)
    for first in range(4):
        for second in range(first):
            assert (table[:, first] @ table[:, second].T == 0).all()


def test_origin_and_spacing_of_the_coordinates_do_not_matter():
    shifted = 0.1 * CLIFF.coordinates - 7.3
    np.testing.assert_array_equal(tile_coding(shifted, 4), tile_coding(CLIFF.coordinates, 4))


def test_a_full_table_shares_entries():
    table = tile_coding(np.arange(21), 4, size=10, tilings=5)
    assert used_and_rank(table)[0] == 10
    assert (table.sum(axis=2) <= 5).all()
    np.testing.assert_array_equal(table, tile_coding(np.arange(21), 4, size=10, tilings=5))


def test_one_hot_is_the_identity():
    np.testing.assert_array_equal(one_hot(3, 2).reshape(6, 6), np.eye(6))


def test_tile_coding_needs_coordinates():
    with pytest.raises(ValueError, match='no state coordinates; pass features="one_hot"'):
        ppqa_alm(random_cmdp(), 10)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("tiles", "features is 'tiles'; pass an array or one of tile_coding, one_hot"),
        (np.ones((21, 4)), r"features has shape \(21, 4\); .* shape \(21, 4, d\)"),
        (np.ones((21, 3, 5)), r"features has shape \(21, 3, 5\)"),
        (np.full((21, 4, 1), np.nan), "pass finite numbers"),
        (np.zeros((21, 4, 5)), "features holds zeros only"),
    ],
)
def test_bad_features(features, message):
    with pytest.raises(ValueError, match=message):
        lin_npg_pd(CLIFF, 10, features=features)


@pytest.mark.parametrize(
    ("coordinates", "arguments", "message"),
    [
        (np.zeros((2, 2, 2)), {}, r"coordinates has shape \(2, 2, 2\); .* shape \(S, k\)"),
        (np.zeros((0, 2)), {}, "coordinates has shape"),
        ([0.0, np.inf], {}, "pass finite numbers"),
        (np.arange(3), {"size": 0}, "size is 0; pass a whole number >= 1"),
        (np.arange(3), {"tilings": 1.5}, "tilings is 1.5; pass a whole number >= 1"),
        (np.arange(3), {"tiles": -1}, "tiles is -1; pass a whole number >= 1"),
    ],
)
def test_bad_tile_coding(coordinates, arguments, message):
    with pytest.raises(ValueError, match=message):
        tile_coding(coordinates, 2, **arguments)
