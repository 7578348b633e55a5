"""The infos of a step behave like the list of dicts that they represent."""

import copy
import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from safe_envs import CostSignalError, read_costs
from safe_envs.contract.row_infos import RowInfos

COSTS = np.array([[0.5, 1.25], [0.0, 0.1], [0.3, 0.4]])


def dicts(costs):
    """The list written out in full."""
    if costs.shape[1] == 1:
        return [{"cost": float(cost)} for (cost,) in costs]
    return [{"cost": float(sum(row)), "costs": row.tolist()} for row in costs]


def plain(infos):
    return [{key: np.asarray(value).tolist() for key, value in info.items()} for info in infos]


@pytest.mark.parametrize("costs", [COSTS, COSTS[:, :1]])
def test_same_dicts_as_a_list(costs):
    infos, expected = RowInfos(costs), dicts(costs)
    assert isinstance(infos, Sequence)
    assert len(infos) == 3
    assert plain(infos) == expected
    assert plain(infos[row] for row in (0, 1, 2, -1)) == [*expected, expected[-1]]
    assert infos[np.int64(1)] is infos[1]
    assert isinstance(infos[:], list)
    assert plain(infos[1:]) == expected[1:]
    assert plain(reversed(infos)) == expected[::-1]
    assert type(infos[0]["cost"]) is np.float64
    with pytest.raises(IndexError):
        infos[3]
    with pytest.raises(TypeError):
        infos["cost"]


def test_equals_and_prints_as_a_list():
    infos = RowInfos(COSTS[:, :1])
    assert infos == [{"cost": 0.5}, {"cost": 0.0}, {"cost": 0.3}]
    assert infos == RowInfos(COSTS[:, :1])
    assert infos != RowInfos(COSTS[:2, :1])
    assert repr(infos) == repr([{"cost": np.float64(cost)} for cost in (0.5, 0.0, 0.3)])
    with pytest.raises(TypeError, match="unhashable"):
        hash(infos)


@pytest.mark.parametrize(
    ("copied", "shares_dicts"),
    [
        (copy.copy, True),
        (RowInfos.copy, True),
        (copy.deepcopy, False),
        (lambda infos: pickle.loads(pickle.dumps(infos)), False),
    ],
)
def test_copies_are_lists(copied, shares_dicts):
    infos = RowInfos(COSTS)
    infos[1]["episode"] = {"r": 3.0}
    found = copied(infos)
    assert type(found) is list
    assert found[1].pop("episode") == {"r": 3.0}
    assert plain(found) == dicts(COSTS)
    assert ("episode" not in infos[1]) == shares_dicts


def test_only_requested_rows_are_created():
    infos = RowInfos(COSTS)
    np.testing.assert_array_equal(read_costs(infos, 3, 2), COSTS)
    assert not infos.made
    infos[1]["terminal_observation"] = 7
    assert list(infos.made) == [1]
    assert infos[1]["terminal_observation"] == 7


def test_changed_dicts_are_what_is_read():
    infos = RowInfos(COSTS.copy())
    infos[0]["costs"][1] = 9.0
    infos[1] = {"costs": [3.0, 4.0]}
    infos[2]["costs"] = np.array([5.0, 6.0])
    np.testing.assert_array_equal(read_costs(infos, 3, 2), [[0.5, 9.0], [3.0, 4.0], [5.0, 6.0]])
    np.testing.assert_array_equal(
        read_costs(RowInfos(COSTS), 3, 1)[:, 0], [sum(row) for row in COSTS]
    )


def test_errors_are_those_of_a_list():
    infos = RowInfos(COSTS)
    del infos[1]["costs"]
    for given in (infos, list(infos)):
        with pytest.raises(CostSignalError, match="info of environment 1 has no 'costs'"):
            read_costs(given, 3, 2)
        with pytest.raises(CostSignalError, match="3 infos were given for 4 environments"):
            read_costs(given, 4, 2)
    with pytest.raises(CostSignalError, match="expected 3 costs each"):
        read_costs(RowInfos(COSTS), 3, 3)


def test_costs_that_are_read_are_the_readers_own():
    infos = RowInfos(np.array([[1.0], [2.0]]))
    read_costs(infos, 2, 1)[:] = 100.0
    assert read_costs(infos, 2, 1).tolist() == [[1.0], [2.0]]
    assert infos[0] == {"cost": 1.0}


def test_a_slice_of_rows_can_be_replaced():
    infos = RowInfos(np.array([[1.0], [2.0], [3.0]]))
    infos[1:] = [{"cost": 5.0}, {"cost": 6.0}]
    assert read_costs(infos, 3, 1)[:, 0].tolist() == [1.0, 5.0, 6.0]
    with pytest.raises(ValueError, match="zip"):
        infos[1:] = [{"cost": 5.0}]
