"""A training that a callback stops, at any step, goes on as if nothing had happened."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

import agents
from safe_envs import ConstraintSpec

LENGTH = 5


class Counted(gym.Env):
    """Episodes of 5 steps that cost 1 each; the observation counts the steps ever taken."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    constraints = (ConstraintSpec("harm", limit=3.0),)
    reward_discount = 1.0

    def __init__(self):
        self.taken = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([float(self.taken)]), {"cost": 0.0}

    def step(self, action):
        self.taken += 1
        over = self.taken % LENGTH == 0
        return np.array([float(self.taken)]), 1.0, False, over, {"cost": 1.0}


class StopAt(BaseCallback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def _on_step(self):
        return self.num_timesteps < self.step


@pytest.mark.parametrize("stop", [LENGTH, LENGTH + 2])  # at the end of an episode, and within one
def test_the_step_at_which_a_callback_stops_counts(stop):
    env = Counted()
    agent = agents.PPOLag("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, seed=0)
    agent.learn(64, StopAt(stop))
    assert env.taken == agent.num_timesteps == stop
    np.testing.assert_array_equal(agent._last_obs, [[stop]])  # where the environment is
    assert len(agent.ep_info_buffer) == 1
    agent.learn(32, reset_num_timesteps=False)
    assert {float(one.costs[0]) for one in agent.episodes.recent} == {LENGTH}
    assert len(agent.episodes.recent) == env.taken // LENGTH
    # Seen are the first observation and one more per step, none twice.
    assert float(agent.policy.normalizer.count) == 1 + env.taken
