import numpy as np
import pytest

from safe_envs.tabular.deep_sea_treasure import DeepSeaTreasureEnv, deep_sea_treasure_model


def test_uniform_policy_has_the_known_values():
    cmdp = deep_sea_treasure_model()
    evaluation = cmdp.evaluate(cmdp.uniform_policy())
    assert evaluation.value == pytest.approx(0.1357502, abs=1e-12)
    assert evaluation.costs[0] == pytest.approx(0.24596, abs=1e-12)


@pytest.mark.parametrize("size", [2, 5, 8])
def test_always_left_collects_the_treasure_after_sinking(size):
    """By hand: starting in column x, row y, the diver is at max(x - y, 0) when it lands."""
    cmdp = deep_sea_treasure_model(size=size, mines=[(0, 1)])
    policy = np.tile([1.0, 0.0], (size * size, 1))
    values = cmdp.evaluate(policy).state_values[:, 0].reshape(size, size)
    for column in range(size):
        for row in range(size):
            lands_on_treasure = row > 0 and column <= row
            expected = 0.9 ** (row - 1) if lands_on_treasure else 0.0
            assert values[column, row] == pytest.approx(expected, abs=1e-12)


def test_moves_to_the_right_cost_a_hundredth_of_the_width():
    env = DeepSeaTreasureEnv(size=4, mines=[(2, 2)])
    env.reset(seed=0, options={"state": 4 * 1 + 3})
    assert env.step(1)[:2] == (4 * 2 + 2, -0.01 / 4)
    state, reward, _, _, info = env.step(0)
    assert (state, reward, info["cost"]) == (4 * 1 + 1, 0.0, 1.0)
    assert env.step(0)[:3] == (0, 1.0, True)


def test_mines_are_charged_apart():
    cmdp = deep_sea_treasure_model(per_constraint=True)
    assert cmdp.constraint_names == ("mine_0_2", "mine_1_1")
    np.testing.assert_array_equal(cmdp.costs[:, [2, 6], 0], np.eye(2))
    assert cmdp.costs.sum() == 4.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1}, "size is 1; pass a whole number >= 2"),
        ({"size": -3}, "size is -3; pass a whole number >= 2"),
        ({"size": 2.5}, "size is 2.5; pass a whole number >= 2"),
        ({"mines": []}, "pass at least one cell"),
        ({"mines": [(0, 2), (0, 2)]}, "and no cell twice"),
        ({"mines": [(5, 2)]}, r"no cell for a mine at \(5, 2\); columns go from 0 to 4"),
        ({"mines": [(1, 0)]}, "rows from 1 to 4 .row 0 ends the episode."),
        ({"cost_limits": [0.1, 0.2]}, "pass 1 number$"),
    ],
)
def test_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepSeaTreasureEnv(**arguments)
