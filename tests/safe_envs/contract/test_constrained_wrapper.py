import gymnasium as gym
import numpy as np
import pytest

from safe_envs import (
    ConstrainedWrapper,
    ConstraintSpec,
    CostSignalError,
    NonFiniteEnvError,
    declared_constraints,
)

ENERGY = ConstraintSpec("energy", limit=5.0)
SPEED = ConstraintSpec("speed", limit=1.0, discount=0.99)


class Scripted(gym.Env):
    """Returns what the test passes in: observation, reward, info or a sixth value."""

    observation_space = gym.spaces.Box(-10, 10, (2,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, observation=(0.5, 0.5), reward=1.0, info=None, sixth=None):
        self.reply = np.array(observation), reward, info if info is not None else {}
        self.sixth = sixth
        self.taken = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2), {"kept": True}

    def step(self, action):
        self.taken = action
        observation, reward, info = self.reply
        if self.sixth is None:
            return observation, reward, False, False, info
        return observation, reward, self.sixth, False, False, info


def one_step(env, action=(0.0,)):
    env.reset(seed=0)
    return env.step(np.array(action, dtype=np.float32))


def test_cost_function_sees_the_whole_transition():
    seen = []

    def cost(obs, action, next_obs, reward, info):
        seen.append((obs.tolist(), action.tolist(), next_obs.tolist(), reward, info["x"]))
        return 0.75

    env = ConstrainedWrapper(Scripted(info={"x": 3}), ENERGY, cost)
    _, info = env.reset(seed=0)
    assert (info["cost"], info["episode_cost"], info["kept"]) == (0.0, 0.0, True)
    for step in (1, 2):
        info = env.step(np.array([0.25], np.float32))[4]
        assert (info["cost"], info["episode_cost"], info["x"]) == (0.75, 0.75 * step, 3)
    assert seen[0] == ([0.0, 0.0], [0.25], [0.5, 0.5], 1.0, 3)
    assert seen[1][0] == [0.5, 0.5]


def test_several_constraints():
    env = ConstrainedWrapper(Scripted(), [ENERGY, SPEED], lambda *_: (0.5, 2.0))
    info = one_step(env)[4]
    np.testing.assert_array_equal(info["costs"], [0.5, 2.0])
    assert info["cost"] == 2.5
    assert declared_constraints(env) == (ENERGY, SPEED)
    assert env.unwrapped.cost_space.shape == (2,)


def test_reads_six_values_and_infos():
    _, reward, terminated, truncated, info = one_step(
        ConstrainedWrapper(Scripted(sixth=3.0), ENERGY)
    )
    assert (reward, terminated, truncated, info["cost"]) == (1.0, False, False, 3.0)
    assert one_step(ConstrainedWrapper(Scripted(info={"cost": 2}), ENERGY))[4]["cost"] == 2.0


def test_keeps_declared_constraints_and_refuses_none():
    env = ConstrainedWrapper(gym.make("Safe/CliffWorld-v0"))
    assert env.constraints[0].name == "chasm"
    with pytest.raises(CostSignalError, match="declares no constraints; wrap it"):
        ConstrainedWrapper(Scripted())
    with pytest.raises(ValueError, match="constraints is empty"):
        ConstrainedWrapper(Scripted(), [])
    with pytest.raises(ValueError, match="reward_discount is 0.0"):
        ConstrainedWrapper(Scripted(), ENERGY, reward_discount=0.0)
    for wrong in ("energy", ["energy"], {"energy": 5.0}, 5.0, ConstraintSpec):
        with pytest.raises(ValueError, match="constraints is .*; pass a ConstraintSpec or a list"):
            ConstrainedWrapper(Scripted(), wrong)
    with pytest.raises(ValueError, match=r"the names \['energy', 'energy'\]; pass different"):
        ConstrainedWrapper(Scripted(), [ENERGY, ENERGY])


def test_costs_of_an_inner_wrapper_do_not_show_beside_one_constraint():
    inner = ConstrainedWrapper(Scripted(), [ENERGY, SPEED], lambda *transition: (1.0, 2.0))
    outer = ConstrainedWrapper(inner, ENERGY, lambda *transition: 0.5)
    _, info = outer.reset(seed=0)
    assert sorted(info) == ["cost", "episode_cost", "kept"]
    info = outer.step(np.zeros(1, np.float32))[4]
    assert info == {"cost": 0.5, "episode_cost": 0.5}


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({}, r"Scripted, step 1: info has no 'cost' \(it has \[\]\); report it on every step"),
        ({"cost": -0.5}, "Scripted, step 1: the cost is -0.5; costs are >= 0"),
        ({"cost": float("nan")}, "step 1: the cost is nan; it has to be finite"),
        ({"cost": float("inf")}, "step 1: the cost is inf; it has to be finite"),
        ({"cost": [1.0, 2.0]}, r"of shape \(2,\); there are 1 constraints \('energy'\)"),
        ({"cost": "high"}, "the cost is 'high'; return a number"),
        ({"cost": None}, "the cost is None"),
    ],
)
def test_broken_costs_name_environment_step_and_value(info, message):
    with pytest.raises(CostSignalError, match=message):
        one_step(ConstrainedWrapper(Scripted(info=info), ENERGY))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observation": (np.nan, 0.0)}, "step 1: the observation is .*nan.*; it has to be finite"),
        ({"observation": (np.inf, 0.0)}, "the observation is"),
        ({"reward": float("nan")}, "the reward is nan"),
        ({"reward": float("-inf")}, "the reward is -inf"),
    ],
)
def test_non_finite_values_are_refused(arguments, message):
    env = ConstrainedWrapper(Scripted(info={"cost": 0.0}, **arguments), ENERGY)
    with pytest.raises(NonFiniteEnvError, match=message):
        one_step(env)


def test_looks_into_dict_observations():
    class Nested(Scripted):
        def step(self, action):
            return {"a": (np.zeros(2), np.array([np.nan])), "n": 3}, 0.0, False, False, {"cost": 0}

    with pytest.raises(NonFiniteEnvError, match="observation"):
        one_step(ConstrainedWrapper(Nested(), ENERGY))


def test_box_actions_are_clipped_and_bad_ones_refused():
    inner = Scripted(info={"cost": 0.0})
    env = ConstrainedWrapper(inner, ENERGY)
    one_step(env, [7.0])
    assert inner.taken.tolist() == [1.0]
    assert inner.taken.dtype == np.float32
    action = np.array([0.1], dtype=np.float64)
    env.step(action)
    assert inner.taken is action
    with pytest.raises(ValueError, match="contains NaN"):
        env.step(np.array([np.nan]))
    with pytest.raises(ValueError, match=r"has shape \(2,\) .* of shape \(1,\)"):
        env.step(np.zeros(2))


def test_discrete_and_other_actions():
    class Discrete(Scripted):
        action_space = gym.spaces.Discrete(3, start=1)

    env = ConstrainedWrapper(Discrete(info={"cost": 0.0}), ENERGY)
    env.reset(seed=0)
    env.step(3)
    with pytest.raises(ValueError, match="pass one whole number from 1 to 3"):
        env.step(0)

    class Multi(Scripted):
        action_space = gym.spaces.MultiDiscrete([2, 2])

    env = ConstrainedWrapper(Multi(info={"cost": 0.0}), ENERGY)
    env.reset(seed=0)
    env.step(np.array([1, 0]))
    with pytest.raises(ValueError, match="is not in MultiDiscrete"):
        env.step(np.array([2, 0]))


class Reusing(gym.Env):
    """A walk along a line whose observations, infos and costs are always the same objects."""

    observation_space = gym.spaces.Dict({"at": gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)})
    action_space = gym.spaces.Box(-1, 1, (1,), np.float64)

    def __init__(self):
        self.seen = {"at": np.zeros(1)}
        self.costs = np.zeros(2)
        self.info = {"costs": self.costs, "step": 0, "ahead": False, "nested": {"far": 0.5}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen["at"][:] = 0.0
        return self.seen, self.info

    def step(self, action):
        self.seen["at"] += action
        self.costs[:] = abs(self.seen["at"][0]), abs(action[0])
        self.info["step"] += 1
        action *= 0.0
        return self.seen, 1, False, False, self.info


def test_costs_of_differences_where_arrays_are_reused():
    """The length of a path and the effort are those of the moves, not of arrays changed since."""

    def cost(obs, action, next_obs, reward, info):
        moved = abs(next_obs["at"][0] - obs["at"][0])
        obs["at"][:] = next_obs["at"][:] = np.nan  # of copies only
        return moved, action[0] ** 2

    env = ConstrainedWrapper(Reusing(), [ENERGY, SPEED], cost)
    env.reset(seed=0)
    moves = [0.5, -0.25, 0.125]
    infos = [env.step(np.array([move]))[4] for move in moves]
    given = np.array([info["costs"] for info in infos])
    np.testing.assert_array_equal(given, [[abs(move), move**2] for move in moves])
    env.reset()
    assert env.step(np.array([0.25]))[4]["costs"][0] == 0.25  # from 0, not from the last episode


def test_costs_of_infos_are_copies():
    env = ConstrainedWrapper(Reusing(), [ENERGY, SPEED])
    env.reset(seed=0)
    infos = [env.step(np.array([move]))[4] for move in (0.5, -0.25)]
    np.testing.assert_array_equal(infos[0]["costs"], [0.5, 0.5])
    np.testing.assert_array_equal(infos[1]["costs"], [0.25, 0.25])


def test_numbers_in_infos_become_numpy_scalars():
    env = ConstrainedWrapper(Reusing(), ENERGY, lambda *_: 2)
    for info in (env.reset(seed=0)[1], env.step(np.zeros(1))[4]):
        kinds = {key: type(value) for key, value in info.items() if key not in ("costs", "nested")}
        assert kinds == {
            "cost": np.float64, "episode_cost": np.float64, "step": np.int64, "ahead": np.bool_
        }  # fmt: skip
        assert type(info["nested"]["far"]) is np.float64
    assert type(env.unwrapped.info["step"]) is int  # the environment's own info stays


def test_keeps_the_declared_discount_of_the_return():
    discounted = gym.make("Safe/CliffWorld-v0")
    assert ConstrainedWrapper(discounted, ENERGY, lambda *_: 0.0).reward_discount == 0.9
    assert discounted.unwrapped.reward_discount == 0.9
    assert ConstrainedWrapper(discounted, reward_discount=0.5).reward_discount == 0.5
    assert discounted.unwrapped.reward_discount == 0.5
    assert ConstrainedWrapper(Reusing(), ENERGY, lambda *_: 0.0).reward_discount == 1.0
