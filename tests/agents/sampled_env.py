"""An environment of any spaces, for tests of how spaces are handled."""

import gymnasium as gym
import numpy as np


class SampledEnv(gym.Env):
    """Observations are samples of the space; the rest is a function of the action and the time.

    Args:
        observation_space: any.
        action_space: any; actions outside it are an error.
        length: steps until the time limit.
        outcome: from the action and the number of the step, 1 at first, to reward and cost.
    """

    def __init__(self, observation_space, action_space, length, outcome):
        self.observation_space, self.action_space = observation_space, action_space
        self.length, self.outcome = length, outcome

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {"cost": 0.0}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action))
        self.steps += 1
        reward, cost = self.outcome(action, self.steps)
        over = self.steps == self.length
        return self.observation_space.sample(), reward, False, over, {"cost": cost}
