"""Evaluations see observations as in training, and rewards as they were before a VecNormalize."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize, sync_envs_normalization

import agents
from safe_envs import ConstraintSpec
from tests.agents.evaluated import SHORT, SMALL, numbers


class ScaledEnv(gym.Env):
    """Observations around 100; reward and cost are 1 for an action above their standardized value.

    A policy sees the same if its observations are standardized as here.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)
    constraints = (ConstraintSpec("ones", 10.0),)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observation(), {}

    def step(self, action):
        self.t += 1
        right = float(action == (self.seen > 100.0))
        return self._observation(), 5.0 * right, False, self.t == 10, {"cost": right}

    def _observation(self):
        self.seen = 100.0 + 30.0 * self.np_random.normal()
        return np.array([self.seen], np.float32)


class SignOfNormalized:
    """Right in ScaledEnv if the observations are standardized."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert np.abs(observation).max() < 10.0
        return (observation[:, 0] > 0).astype(np.int64), None


def fed(venv, steps=100):
    normalize = VecNormalize(venv)
    normalize.reset()
    for _ in range(steps):
        normalize.step(np.zeros(normalize.num_envs, np.int64))
    return normalize


def test_vec_normalize_is_frozen_and_its_rewards_are_plain():
    env = fed(DummyVecEnv([ScaledEnv] * 2))
    mean, count = env.obs_rms.mean.copy(), env.obs_rms.count
    returns = env.ret_rms.var.copy()
    result = agents.evaluate(SignOfNormalized(), env, 6, seed=0)
    assert result.mean_return > 45.0  # of 50; the estimated mean is not exactly 100
    assert result.returns == pytest.approx(5.0 * result.costs[:, 0])
    assert (env.obs_rms.mean == mean, env.obs_rms.count, env.ret_rms.var) == (True, count, returns)
    assert (env.training, env.norm_reward) == (True, True)


def trained_in_normalize():
    venv = VecNormalize(DummyVecEnv([ScaledEnv] * 2), gamma=0.9)
    return agents.PPOLag("MlpPolicy", venv, **(SMALL | {"n_envs": 2})).learn(64)


def test_environments_without_statistics_get_those_of_training():
    agent = trained_in_normalize()
    count = agent.get_env().obs_rms.count
    own = VecNormalize(DummyVecEnv([ScaledEnv] * 2))
    with pytest.raises(ValueError, match="has seen no observation.*sync_envs_normalization"):
        agents.evaluate(agent, own, 8, seed=0)
    sync_envs_normalization(agent.get_env(), own)
    expected = numbers(agents.evaluate(agent, own, 8, seed=0))
    assert numbers(agents.evaluate(agent, DummyVecEnv([ScaledEnv] * 2), 8, seed=0)) == expected
    assert agent.get_env().obs_rms.count == count


def test_observations_unlike_those_of_training_are_refused(tmp_path):
    agent = trained_in_normalize()
    plain = VecNormalize(DummyVecEnv([ScaledEnv]), norm_obs=False)
    with pytest.raises(
        ValueError, match="norm_obs=False, but the agent trains on .* one normalizes"
    ):
        agents.evaluate(agent, plain, 2)
    agent.save(tmp_path / "agent")
    agent.get_env().save(tmp_path / "statistics.pkl")
    loaded = agents.PPOLag.load(tmp_path / "agent")
    with pytest.raises(ValueError, match="trained in a VecNormalize.*pass VecNormalize.load"):
        agents.evaluate(loaded, ScaledEnv(), 2)
    whole = VecNormalize.load(tmp_path / "statistics.pkl", DummyVecEnv([ScaledEnv]))
    expected = numbers(agents.evaluate(agent, ScaledEnv(), 4, seed=0))
    assert numbers(agents.evaluate(loaded, whole, 4, seed=0)) == expected
    alone = agents.PPOLag("MlpPolicy", ScaledEnv(), **SMALL)
    for one in (alone, PPO("MlpPolicy", ScaledEnv(), **SHORT)):
        with pytest.raises(ValueError, match="norm_obs=True, but the agent trains on .* none"):
            agents.evaluate(one, fed(DummyVecEnv([ScaledEnv])), 2)
