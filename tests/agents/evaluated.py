"""What tests of evaluations share: settings, the simplest environments and the simplest policy."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SMALL = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "seed": 0, "n_envs": 1}
SHORT = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "seed": 0, "device": "cpu"}


class FirstAction:
    """Always the first action."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(len(observation), np.int64), None


class Ticker(gym.Env):
    """Episodes of 2 + (seed mod 5) steps, with reward and cost 1 a step."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = self.length if seed is None else 2 + seed % 5
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0, self.t == self.length, False, {"cost": 1.0}


class Undeclared(Ticker):
    """Ticker without seeds: episodes of 4 steps."""

    def reset(self, *, seed=None, options=None):
        self.length = 4
        return super().reset(seed=None)


def numbers(result):
    return [result.returns.tolist(), result.costs.tolist(), result.lengths.tolist()]
