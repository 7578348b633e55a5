"""The single form: scalar dynamics against a batch of one, the time limit, invalid arguments."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.single_env import SingleEnv
from safe_envs.control.double_integrator import DoubleIntegratorEnv
from safe_envs.tabular.cliff_world import CliffWorldEnv

STEPS = 150


def same(ours, theirs):
    """Equal bit for bit; entries that only scalar dynamics add to an info are ignored."""
    *ours, info = ours
    *theirs, expected = theirs
    assert np.array_equal(ours[0], theirs[0])
    assert ours[1:] == theirs[1:]
    assert set(expected) <= set(info)
    for key, value in expected.items():
        assert np.array_equal(info[key], value), key


def test_scalar_dynamics_equal_a_batch_of_one(env_case):
    """Every registered environment and its variants, with the same seed and actions."""
    env_id, kwargs = env_case
    ours = gym.make(env_id, disable_env_checker=True, **kwargs).unwrapped
    theirs = SingleEnv(ours.dynamics)
    ours.action_space.seed(0)
    for seed in range(2):
        same(ours.reset(seed=seed), theirs.reset(seed=seed))
        for _ in range(STEPS):
            action = ours.action_space.sample()
            outcome = ours.step(action)
            same(outcome, theirs.step(action))
            if outcome[2]:
                same(ours.reset(), theirs.reset())
    ours.close()


def test_a_given_state_starts_a_batch_of_one():
    theirs = SingleEnv(CliffWorldEnv().dynamics)
    observation, info = theirs.reset(options={"state": 7})
    assert observation == 7
    assert info == {"cost": 0.0, "episode_cost": 0.0}
    with pytest.raises(ValueError, match="state 21 does not exist; pass a whole number from 0 to"):
        theirs.reset(options={"state": 21})


def test_truncates_at_its_own_time_limit():
    env = SingleEnv(CliffWorldEnv().dynamics, max_episode_steps=3)
    for _ in range(2):
        env.reset(seed=0, options={"state": 5})
        assert [env.step(0)[3] for _ in range(3)] == [False, False, True]
    assert not CliffWorldEnv().reset(seed=0)[1]["cost"]
    with pytest.raises(ValueError, match="max_episode_steps is 0; pass a whole number >= 1"):
        SingleEnv(CliffWorldEnv().dynamics, max_episode_steps=0)


def test_refuses_a_space_whose_actions_it_cannot_check():
    dynamics = CliffWorldEnv().dynamics
    dynamics.single_action_space = gym.spaces.MultiDiscrete([2, 2])
    with pytest.raises(TypeError, match="MultiDiscrete.*; use a Discrete or Box action space"):
        SingleEnv(dynamics)


def test_a_wrong_state_says_how_shapes_are_meant():
    env = SingleEnv(DoubleIntegratorEnv().dynamics)
    with pytest.raises(
        ValueError, match=r"shape \(1, 3\).*batch of one: leave out their first axis"
    ):
        env.reset(options={"state": [0.0, 0.0, 0.0]})
    assert env.reset(options={"state": [1.0, 2.0]})[0].tolist() == [1.0, 2.0]


def test_refuses_observations_that_are_not_arrays():
    dynamics = CliffWorldEnv().dynamics
    dynamics.single_observation_space = gym.spaces.Dict({"at": gym.spaces.Discrete(21)})
    with pytest.raises(TypeError, match="observations are Dict.*; dynamics observe one array"):
        SingleEnv(dynamics)


@pytest.mark.parametrize("action", [[np.inf, -np.inf, 0.0, 0.0], [1e308, 1e308, 1e308, 1e308]])
def test_huge_actions_are_clipped_without_a_warning(action):
    env = gym.make("Safe/Quadrotor-v0", disable_env_checker=True)
    bounds = np.clip(action, -1.0, 1.0).astype(np.float32)
    env.reset(seed=0)
    expected = env.step(bounds)
    env.reset(seed=0)
    assert np.array_equal(env.step(np.array(action))[0], expected[0])
    with pytest.raises(ValueError, match="NaN"):
        env.step(np.array([np.nan, 0.0, 0.0, 0.0]))
