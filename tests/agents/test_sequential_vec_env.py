"""Steps of `SequentialVecEnv` against Stable-Baselines3's `DummyVecEnv`."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
from agents.sequential_vec_env import SequentialVecEnv, in_sequence
from safe_envs import ConstraintSpec

spaces = gym.spaces


class Reusing(gym.Env):
    """Writes all observations and infos into the same objects."""

    action_space = spaces.Discrete(2)
    constraints = (ConstraintSpec("harm", limit=1.0),)
    reward_discount = 1.0

    def __init__(self, is_dict=False):
        part = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.is_dict = is_dict
        self.observation_space = spaces.Dict({"a": part}) if is_dict else part
        self._array = np.zeros(2, np.float32)
        self._info = {"inner": {"array": np.zeros(1)}, "name": "x", "whole": 3}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._seen(), {"cost": 0.0}

    def step(self, action):
        self.time += 1
        self._info["inner"]["array"][:] = self.time
        self._info |= {"cost": np.float64(self.time)}
        return self._seen(), float(action), self.time == 5, self.time == 3, dict(self._info)

    def _seen(self):
        self._array[:] = self.time, self.np_random.random()
        return {"a": self._array} if self.is_dict else self._array


class Copying(Reusing):
    """The same with objects of their own."""

    def _seen(self):
        seen = super()._seen()
        return {"a": seen["a"].copy()} if self.is_dict else seen.copy()


def without_times(info):
    return {
        key: {k: v for k, v in value.items() if k != "t"} if key == "episode" else value
        for key, value in info.items()
    }


@pytest.mark.parametrize("is_dict", [False, True])
def test_steps_are_those_of_dummy_vec_env(is_dict):
    ours = SequentialVecEnv([lambda: Monitor(Reusing(is_dict))] * 2)
    theirs = DummyVecEnv([lambda: Monitor(Copying(is_dict))] * 2)
    for venv in (ours, theirs):
        venv.seed(0)
    np.testing.assert_equal(ours.reset(), theirs.reset())
    results = []
    for action in np.random.default_rng(0).integers(2, size=(12, 2)):
        found, expected = ours.step(action), theirs.step(action)
        results.append((found, expected))
    for found, expected in results:  # only now: nothing has changed since
        for mine, other in zip(found[:3], expected[:3], strict=True):
            np.testing.assert_equal(mine, other)
            if isinstance(mine, np.ndarray):
                assert mine.dtype == other.dtype
        for mine, other in zip(found[3], expected[3], strict=True):
            np.testing.assert_equal(without_times(mine), without_times(other))
    assert sum(expected[2].sum() for _, expected in results) == 8


def test_single_environments_get_a_monitor_and_vec_envs_stay():
    env = Reusing()
    venv = in_sequence(env)
    assert isinstance(venv, SequentialVecEnv)
    assert venv.env_is_wrapped(Monitor) == [True]
    assert in_sequence(venv) is venv
    monitored = Monitor(Reusing())
    assert in_sequence(monitored).envs[0].env is monitored.env
    agent = agents.PPOLag("MlpPolicy", Reusing(), n_steps=16)
    assert isinstance(agent.env, SequentialVecEnv)
