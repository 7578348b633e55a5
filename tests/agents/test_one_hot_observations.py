"""Agents learn the same from a state's number as from its row of the identity matrix."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import agents
from agents.named_agents import NAMED_AGENTS

DISCRETE_AGENTS = [name for name in NAMED_AGENTS if name != "SCPO"]  # which needs Box actions


@pytest.mark.parametrize(
    ("name", "n_envs"), [("PPOALM", 1), *((name, 4) for name in DISCRETE_AGENTS)]
)
def test_learns_the_same_to_the_last_bit(name, n_envs):
    """Stable-Baselines3 turns state numbers into such rows itself."""
    trained = [
        getattr(agents, name)(
            "MlpPolicy",
            agents.make_vec_env("Safe/DeepSeaTreasure-v0", n_envs, observation=observation),
            n_steps=48,
            batch_size=48,
            n_epochs=2,
            policy_kwargs={"net_arch": [8]},
            seed=1,
        ).learn(2 * 48 * n_envs)
        for observation in ("index", "one_hot")
    ]
    index, one_hot = (agent.policy.state_dict() for agent in trained)
    assert index.keys() == one_hot.keys()
    assert all(torch.equal(index[key], one_hot[key]) for key in index)
    states = [np.arange(25), np.eye(25, dtype=np.float32)]
    actions = [
        agent.predict(seen, deterministic=True)[0]
        for agent, seen in zip(trained, states, strict=True)
    ]
    np.testing.assert_array_equal(*actions)


class Numbered(gym.Env):
    """Draws a number, or a pair of them, counted from `start`; the action 1 costs 1."""

    def __init__(self, space, start):
        self.observation_space, self.start = space, start
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.draw(), {"cost": 0.0}

    def draw(self):
        pair = self.np_random.integers(3, size=2)
        shown = pair if isinstance(self.observation_space, gym.spaces.MultiDiscrete) else pair[0]
        return shown + np.asarray(self.start)

    def step(self, action):
        self.steps += 1
        cost = float(action)
        return self.draw(), cost, False, self.steps == 4, {"cost": cost}


PAIRS = gym.spaces.MultiDiscrete([3, 3]), gym.spaces.MultiDiscrete([3, 3], start=[-1, 7])


@pytest.mark.parametrize(
    ("spaces", "start"),
    [((gym.spaces.Discrete(3), gym.spaces.Discrete(3, start=5)), 5), (PAIRS, [-1, 7])],
    ids=["Discrete", "MultiDiscrete"],
)
def test_numbers_are_learned_the_same_from_any_start(spaces, start):
    trained = [
        agents.PPOLag(
            "MlpPolicy", Numbered(space, first), cost_limit=1.0, n_steps=32, batch_size=32, seed=1
        ).learn(64)
        for space, first in zip(spaces, (0, start), strict=True)
    ]
    plain, moved = (agent.policy.state_dict() for agent in trained)
    assert all(torch.equal(plain[key], moved[key]) for key in plain)
    numbers = np.array([spaces[0].sample() for _ in range(20)])
    actions = [
        agent.predict(numbers + np.asarray(first), deterministic=True)[0]
        for agent, first in zip(trained, (0, start), strict=True)
    ]
    np.testing.assert_array_equal(*actions)
