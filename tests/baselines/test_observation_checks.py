"""Observations outside of a space are refused with the space and the value."""

import numpy as np
import pytest
from gymnasium import spaces

from baselines.observation_checks import batch_size

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (4, 5, 3), np.uint8)
NUMBER = spaces.Discrete(3, start=1)
SEVERAL = spaces.MultiDiscrete([2, 3])
BOTH = spaces.Dict({"a": BOX, "b": NUMBER})


@pytest.mark.parametrize("space", [BOX, IMAGE, NUMBER, SEVERAL, spaces.MultiBinary(3), BOTH])
def test_samples_are_in_their_space(space):
    space.seed(0)
    assert batch_size(space, space.sample()) is None
    if not isinstance(space, spaces.Dict):
        assert batch_size(space, np.stack([space.sample() for _ in range(4)])) == 4
        assert batch_size(space, np.empty((0, *space.shape))) == 0


@pytest.mark.parametrize(
    ("space", "observation", "told"),
    [
        (
            NUMBER,
            np.array([1.5]),
            r"has 1.5, which is not in Discrete\(3, start=1\); .*from 1 to 3",
        ),
        (NUMBER, 4, "has 4, which is not in Discrete"),
        (NUMBER, 0, "has 0, which"),
        (NUMBER, np.nan, "has nan, which"),
        (NUMBER, [[1]], r"has shape \(1, 1\)"),
        (NUMBER, "1", "is '1'; pass numbers in Discrete"),
        (NUMBER, None, "is None; pass numbers"),
        (SEVERAL, [1, 3], "has 3, which"),
        (SEVERAL, [[1, 2], [2, 0]], "has 2, which is not in MultiDiscrete"),
        (spaces.MultiBinary(2), [0, 2], "from 0 to 1"),
        (BOX, [np.nan, 0.0], r"has nan, which is not in Box\(.*finite numbers"),
        (BOX, [[0.0, 0.0], [0.0, np.inf]], "has inf"),
        (BOX, [1e300, 0.0], "has 1e.300"),
        (BOX, [0.0, 0.0, 0.0], r"has shape \(3,\), but the space is Box"),
        (BOX, 0.0, r"has shape \(\)"),
        (BOX, [[1.0], [1.0, 2.0]], "pass numbers in Box"),
        (IMAGE, np.full((4, 5, 3), 300), "has 300, which"),
        (IMAGE, np.full((4, 5, 3), 0.5), "has 0.5, which"),
        (BOTH, np.zeros(2), "pass a dict with the keys"),
        (BOTH, {"a": np.zeros(2)}, r"is \['a'\]; pass a dict with the keys \['a', 'b'\]"),
        (BOTH, {"a": np.zeros(2), "b": 9}, "the observation's 'b' has 9"),
        (BOTH, {"a": np.zeros((2, 2)), "b": 1}, "different numbers of observations"),
    ],
)
def test_what_is_outside_is_refused(space, observation, told):
    with pytest.raises(ValueError, match=told):
        batch_size(space, observation)


def test_rounded_floats_and_both_orders_of_channels_are_fine():
    assert batch_size(BOX, np.array([1.0001, -1.5])) is None
    assert batch_size(NUMBER, np.array([1.0, 3.0])) == 2
    assert batch_size(IMAGE, np.zeros((3, 4, 5), np.uint8)) is None
    assert batch_size(spaces.Box(0, 255, (3, 4, 5), np.uint8), np.zeros((7, 4, 5, 3))) == 7
