"""The native vector form against single environments that get the same draws."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import read_costs
from safe_envs.contract.vector_env import AutoresetMode, NativeVectorEnv

if AutoresetMode is None:
    pytest.skip("this Gymnasium has no autoreset modes", allow_module_level=True)

N = 5


class SharedDraws:
    """Gives the columns of a table of draws to single environments, and rows to a batch.

    A batch asks for n draws at once where n environments ask for one each.
    """

    def __init__(self, queues):
        self.queues = queues

    def random(self, size=None):
        return self._next("uniform", size)

    def standard_normal(self, size=None):
        return self._next("normal", size)

    def _next(self, kind, size):
        if size is None:
            return self.queues[0][kind].pop(0)
        return np.array([queue[kind].pop(0) for queue in self.queues[: int(size)]])


def draws_table(rng, length):
    return [
        {"uniform": rng.random(length).tolist(), "normal": rng.standard_normal(length).tolist()}
        for _ in range(N)
    ]


@pytest.mark.parametrize(
    ("sampled_id", "kwargs"),
    [
        ("Safe/CliffWorld-v0", {"per_constraint": True}),
        ("Safe/RandomCMDP-v0", {"constraints": 2}),
        ("Safe/DoubleIntegrator-v0", {"reward": "imitation", "per_constraint": True}),
        ("Safe/DoubleIntegrator-v0", {}),
    ],
)
def test_many_rows_equal_many_environments(sampled_id, kwargs):
    """Injected states and draws; compared until the first episode of any row ends."""
    rng = np.random.default_rng(7)
    venv = gym.make_vec(sampled_id, num_envs=N, **kwargs)
    venv.action_space.seed(0)
    envs = [gym.make(sampled_id, disable_env_checker=True, **kwargs) for _ in range(N)]
    table = draws_table(rng, 200)
    if isinstance(venv.single_observation_space, gym.spaces.Discrete):
        starts = np.arange(5, 5 + N)
    else:
        starts = rng.uniform(-14.9, 14.9, size=(N, 2))
    batch_observation, _ = venv.reset(seed=0, options={"state": starts})
    venv.np_random = SharedDraws([{k: list(v) for k, v in q.items()} for q in table])
    for env, start, queue, seen in zip(envs, starts, table, batch_observation, strict=True):
        observation, _ = env.reset(seed=0, options={"state": start})
        env.unwrapped.np_random = SharedDraws([queue])
        assert np.array_equal(observation, seen)
    compared = 0
    for _ in range(100):
        actions = venv.action_space.sample()
        observations, rewards, terminated, truncated, infos = venv.step(actions)
        costs = read_costs(infos, N, len(venv.constraints))
        for i, env in enumerate(envs):
            single = env.step(actions[i])
            assert np.array_equal(single[0], observations[i])
            assert single[1:4] == (rewards[i], terminated[i], truncated[i])
            expected = single[4].get("costs", [single[4]["cost"]])
            assert np.array_equal(costs[i], expected)
            assert single[4]["episode_cost"] == infos["episode_cost"][i]
            if "constraint_values" in single[4]:
                margins = single[4]["constraint_values"]
                assert np.array_equal(margins, infos["constraint_values"][i])
            compared += 1
        if terminated.any() or truncated.any():
            break
    assert compared >= 3 * N


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_autoreset_bookkeeping(mode):
    """Deep sea without randomness: from row y the episode lasts y steps, or one at row 0."""
    venv = gym.make_vec("Safe/DeepSeaTreasure-v0", num_envs=64, autoreset_mode=mode)
    left = np.zeros(64, dtype=np.int64)
    state, info = venv.reset(seed=1)
    assert not info["cost"].any()
    expected_left = np.maximum(state % 5, 1)
    totals = np.zeros(64)
    just_ended = np.zeros(64, dtype=bool)
    for _ in range(40):
        mined = np.isin(state, [2, 6])
        state, reward, terminated, truncated, info = venv.step(left)
        if mode == "NextStep":
            np.testing.assert_array_equal(info["_cost"], ~just_ended)
            np.testing.assert_array_equal(info.get("_only_reset", False), just_ended)
            assert ("_only_reset" in info) == just_ended.any()
            assert not reward[just_ended].any()
            assert not terminated[just_ended].any()
            totals[just_ended] = 0.0
            mined[just_ended] = False
            expected_left[just_ended] = np.maximum(state[just_ended] % 5, 1) + 1
        totals += mined
        np.testing.assert_array_equal(info["cost"], mined)
        np.testing.assert_array_equal(info["episode_cost"], totals)
        expected_left -= 1
        np.testing.assert_array_equal(terminated, expected_left == 0)
        assert not truncated.any()
        if mode == "SameStep" and terminated.any():
            np.testing.assert_array_equal(info["_final_info"], terminated)
            np.testing.assert_array_equal(info["_final_obs"], terminated)
            final = info["final_info"]
            np.testing.assert_array_equal(final["cost"][terminated], mined[terminated])
            np.testing.assert_array_equal(final["episode_cost"][terminated], totals[terminated])
            assert all(last % 5 == 0 for last in info["final_obs"][terminated])
            assert all(last is None for last in info["final_obs"][~terminated])
            totals[terminated] = 0.0
            expected_left[terminated] = np.maximum(state[terminated] % 5, 1)
        just_ended = terminated


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_truncation_is_inside(mode):
    venv = gym.make_vec("Safe/RandomCMDP-v0", num_envs=3, autoreset_mode=mode, max_episode_steps=4)
    venv.reset(seed=0)
    period = 5 if mode == "NextStep" else 4
    for step in range(1, 21):
        _, _, terminated, truncated, _ = venv.step(np.zeros(3, dtype=np.int64))
        assert not terminated.any()
        assert truncated.tolist() == [step % period == 4 % period] * 3


def test_disabled_autoreset_waits_for_a_mask():
    venv = gym.make_vec(
        "Safe/DeepSeaTreasure-v0", num_envs=3, autoreset_mode=AutoresetMode.DISABLED
    )
    venv.reset(seed=0, options={"state": [1, 4, 9]})
    _, _, terminated, _, _ = venv.step(np.zeros(3, dtype=np.int64))
    assert terminated.tolist() == [True, False, False]
    with pytest.raises(gym.error.ResetNeeded, match=r"rows \[0\] have ended; call reset"):
        venv.step(np.zeros(3, dtype=np.int64))
    state, _ = venv.reset(options={"reset_mask": terminated, "state": [24]})
    assert state.tolist() == [24, 3, 3]
    venv.step(np.zeros(3, dtype=np.int64))


def test_observations_and_infos_are_copies():
    venv = gym.make_vec("Safe/DoubleIntegrator-v0", num_envs=2)
    first, _ = venv.reset(seed=0)
    kept = first.copy()
    observation, _, _, _, info = venv.step(np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(first, kept)
    observation[:] = 99.0
    info["episode_cost"][:] = 99.0
    following, _, _, _, info = venv.step(np.zeros((2, 1), np.float32))
    assert (np.abs(following) < 50).all()
    assert (info["episode_cost"] < 50).all()


def test_frames_of_all_rows(env_id):
    pytest.importorskip("pygame")
    venv = gym.make_vec(env_id, num_envs=2, render_mode="rgb_array")
    venv.reset(seed=0)
    single = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
    single.reset(seed=0)
    assert [frame.shape for frame in venv.render()] == [single.render().shape] * 2


def test_declares_what_the_single_form_declares(env_id):
    venv, env = gym.make_vec(env_id, num_envs=2), gym.make(env_id).unwrapped
    declaring = venv.unwrapped
    assert declaring.constraints == env.constraints
    assert declaring.reward_discount == env.reward_discount
    assert declaring.cost_space == env.cost_space
    assert venv.single_observation_space == env.observation_space
    assert venv.single_action_space == env.action_space


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 4, 0]), r"action .*4.* is not in Discrete\(4\)"),
        (np.array([0, -1, 0]), "pass one whole number from 0 to 3"),
        (np.zeros(2, dtype=int), r"pass 3 whole numbers, shape \(3,\)"),
        (np.zeros(3), "float64 are not a batch"),
    ],
)
def test_refuses_wrong_discrete_batches(actions, message):
    venv = gym.make_vec("Safe/CliffWorld-v0", num_envs=3)
    venv.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        venv.step(actions)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(3), r"shape \(3,\); pass an array of shape \(3, 1\)"),
        (np.full((3, 1), np.nan), "contains NaN"),
    ],
)
def test_refuses_wrong_box_batches(actions, message):
    venv = gym.make_vec("Safe/DoubleIntegrator-v0", num_envs=3)
    venv.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        venv.step(actions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0; pass a whole number >= 1"),
        ({"num_envs": 2, "max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"num_envs": 2, "render_mode": "human"}, "render_mode is 'human'; pass None or"),
        ({"num_envs": 2, "autoreset_mode": "sometimes"}, "'sometimes' is not a valid Autoreset"),
    ],
)
def test_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        gym.make_vec("Safe/CliffWorld-v0", **arguments)


def test_refuses_impossible_resets():
    venv = gym.make_vec("Safe/CliffWorld-v0", num_envs=2)
    assert isinstance(venv, NativeVectorEnv)
    with pytest.raises(gym.error.ResetNeeded):
        venv.step(np.zeros(2, dtype=int))
    with pytest.raises(gym.error.ResetNeeded, match="without a mask"):
        venv.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="takes one seed, not a list"):
        venv.reset(seed=[1, 2])
    with pytest.raises(ValueError, match=r"pass one state per environment, shape \(2,\)"):
        venv.reset(options={"state": 3})
    venv.reset(seed=0)
    for mask in (np.array([1, 0]), np.array([False, False]), np.array([True])):
        with pytest.raises(ValueError, match="pass a bool array of shape"):
            venv.reset(options={"reset_mask": mask})
