"""An environment with any spaces, and agents for it that act as after a training."""

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

import agents
from agents.observation_normalizer import describes


class Drawing(gym.Env):
    """Observations are drawn at random; one step, whose cost is 1."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {"cost": 0.0}

    def step(self, action):
        assert action in self.action_space
        return self.observation_space.sample(), 1.0, True, False, {"cost": 1.0}


def moved_agent(observations, actions, mean=1e4, deviation=1e-3, **settings):
    """Return an agent whose last layer is large and whose observations had these moments."""
    images = isinstance(observations, spaces.Box) and len(observations.shape) == 3
    policy = "MultiInputPolicy" if isinstance(observations, spaces.Dict) else "MlpPolicy"
    policy = settings.pop("policy", "CnnPolicy" if images else policy)
    env = Drawing(observations, actions)
    model = agents.PPOLag(policy, env, cost_limit=1.0, n_steps=8, batch_size=8, seed=0, **settings)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(60.0)
        if isinstance(actions, spaces.Box):
            model.policy.log_std.copy_(torch.linspace(-1.0, 0.5, model.policy.log_std.numel()))
    normalizer = model.policy.normalizer
    ones = np.ones(normalizer.mean.shape)
    normalizer.set_moments(mean * ones, deviation * ones, count=100.0)
    return model


def raw_observations(model, space, count=300):
    """Return observations around the agent's moments, in the types of the space."""
    rng = np.random.default_rng(1)
    moments = describes(model.policy.normalizer)
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    drawn = {}
    for key, part in parts.items():
        part.seed(2)
        drawn[key] = np.array([part.sample() for _ in range(count)])
        if key in moments:
            mean, deviation = moments[key]
            rows = rng.normal(mean, 3.0 * deviation + 1e-9, (count, mean.size))
            drawn[key] = rows.reshape(count, *part.shape).astype(np.float32).astype(part.dtype)
    return drawn if isinstance(space, spaces.Dict) else drawn[""]


def flattened(space, observations):
    """Return flat rows by Gymnasium's own function alone."""
    count = len(
        next(iter(observations.values())) if isinstance(observations, dict) else observations
    )
    rows = [
        {key: part[i] for key, part in observations.items()}
        if isinstance(observations, dict)
        else observations[i]
        for i in range(count)
    ]
    return np.array([spaces.flatten(space, row) for row in rows], dtype=np.float32)
