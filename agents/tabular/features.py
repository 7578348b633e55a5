"""Features of state-action pairs for log-linear policies: tile coding and one-hot."""

from __future__ import annotations

import zlib

import numpy as np

from safe_envs.contract.argument_checks import check_count, closest_hint
from safe_envs.tabular.model import TabularCMDP

FEATURE_NAMES = ("tile_coding", "one_hot")


def tile_coding(
    coordinates: np.ndarray, actions: int, size: int = 200, tilings: int = 4, tiles: int = 3
) -> np.ndarray:
    """Return binary tile-coding features of every state and action, shape (S, A, size).

    Each of the n tilings cuts every axis into about `tiles` tiles and is shifted against the
    others by odd multiples of a tile's n-th part. A pair (s, a) sets one entry per tiling, that
    of (tiling k, tile of each axis, a):

        tile_i = floor((floor(n tiles z_i) + k (1 + 2 i)) / n),  i = 0, 1, ...
        z_i    = (coordinate_i - lowest) / (highest - lowest + smallest gap),

    so N equidistant cells have z = 0, 1/N, ..., (N - 1)/N. Entries are numbered in order of first
    use, state by state. Once all `size` numbers are in use, further tiles share numbers by a hash.

    Source: Sutton and Barto, "Reinforcement Learning" (2018), section 9.5.4; displacement and
    numbering as Sutton describes for his tile coding software, version 3. The defaults, on the
    (x, y) of a cell, are the setting of the grid-world experiments; a state numbered along one line
    (`np.arange(S)`, with size 80, 5 tilings, 3 tiles) is that of Vaswani et al. (2023).

    Reproduced: entries in use and rank of the (S A, size) table, for 21 cliff states with 4
    actions and 25 deep-sea states with 2:

        cliff, one line   (80, 5, 3): 76, rank 60     (40, 5, 3): 40, rank 40 (76 tiles)
        cliff, (x, y)    (200, 4, 3): 152, rank 80
        deep sea, one line (80, 5, 3): 38, rank 30    (x, y) (200, 4, 3): 84, rank 46

    Args:
        coordinates: (S, k) position of each state, or (S,) for one axis.
        actions: number of actions A.
        size: length of a feature vector.
        tilings: number of tilings.
        tiles: tiles per axis and tiling.

    Raises:
        ValueError: if the coordinates are not a finite table or a count is below 1.
    """
    check_count(actions=actions, size=size, tilings=tilings, tiles=tiles)
    positions = np.asarray(coordinates, dtype=np.float64)
    if positions.ndim == 1:
        positions = positions[:, None]
    if positions.ndim != 2 or positions.size == 0 or not np.isfinite(positions).all():
        raise ValueError(
            f"coordinates has shape {np.shape(coordinates)}; pass finite numbers of shape (S, k), "
            "one row per state"
        )
    quantized = _quantize(positions, tilings * tiles)
    table = np.zeros((len(positions), actions, size))
    numbers: dict[tuple[int, ...], int] = {}
    for state, cells in enumerate(quantized):
        for action in range(actions):
            for tiling in range(tilings):
                shifted = [
                    (cell + tiling * (1 + 2 * axis)) // tilings for axis, cell in enumerate(cells)
                ]
                tile = (tiling, *shifted, action)
                table[state, action, _number_of(tile, numbers, size)] = 1.0
    return table


def one_hot(states: int, actions: int) -> np.ndarray:
    """Return one feature per state-action pair, the identity, shape (S, A, S * A)."""
    check_count(states=states, actions=actions)
    return np.eye(states * actions).reshape(states, actions, -1)


def feature_table(cmdp: TabularCMDP, features: np.ndarray | str) -> np.ndarray:
    """Return the features for a solver's `features` argument, shape (S, A, d).

    Raises:
        ValueError: for an unknown name, a CMDP without coordinates or a table of another shape.
    """
    if isinstance(features, str):
        return _named_features(cmdp, features)
    table = np.asarray(features, dtype=np.float64)
    pairs = (cmdp.num_states, cmdp.num_actions)
    if table.ndim != 3 or table.shape[:2] != pairs or not np.isfinite(table).all():
        raise ValueError(
            f"features has shape {table.shape}; pass finite numbers of shape ({pairs[0]}, "
            f"{pairs[1]}, d), or one of the names {', '.join(FEATURE_NAMES)}"
        )
    if not table.any():
        raise ValueError("features holds zeros only; pass at least one feature that is not zero")
    return table


def _named_features(cmdp: TabularCMDP, name: str) -> np.ndarray:
    if name == "one_hot":
        return one_hot(cmdp.num_states, cmdp.num_actions)
    if name != "tile_coding":
        raise ValueError(
            f"features is {name!r}; {closest_hint(name, FEATURE_NAMES)}pass an array or one of "
            f"{', '.join(FEATURE_NAMES)}"
        )
    if cmdp.coordinates is None:
        raise ValueError(
            "features is 'tile_coding' but this CMDP has no state coordinates; pass "
            'features="one_hot", an (S, A, d) array, or a TabularCMDP with coordinates'
        )
    return tile_coding(cmdp.coordinates, cmdp.num_actions)


def _quantize(positions: np.ndarray, parts: int) -> list[list[int]]:
    """Return floor(parts * z) of every position, with z in [0, 1) as in `tile_coding`."""
    columns = []
    for axis in positions.T:
        distinct = np.unique(axis)
        gap = np.diff(distinct).min() if len(distinct) > 1 else 1.0
        extent = distinct[-1] - distinct[0] + gap
        parts_in = parts * (axis - distinct[0]) / extent
        columns.append(np.floor(parts_in + 1e-9).astype(int))  # cell edges survive rounding
    return np.stack(columns, axis=1).tolist()


def _number_of(tile: tuple[int, ...], numbers: dict[tuple[int, ...], int], size: int) -> int:
    if tile not in numbers and len(numbers) == size:
        return zlib.crc32(repr(tile).encode()) % size  # shares the number of an earlier tile
    return numbers.setdefault(tile, len(numbers))
