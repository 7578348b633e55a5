"""Trainings that cannot go well say so, once, and say what to do."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch

import agents
from agents.batch import Batch, Measurement
from agents.training_warnings import TrainingWarning, TrainingWatch
from safe_envs import ConstraintSpec

SMALL = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": 0}


class Constant(gym.Env):
    """Rewards of the action and a cost of 1 at every step; episodes of `length` steps."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    reward_discount = 1.0

    def __init__(self, length, limit):
        self.length, self.constraints = length, (ConstraintSpec("harm", limit),)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {"cost": 0.0}

    def step(self, action):
        self.steps += 1
        over = self.steps == self.length
        return np.zeros(1, np.float32), float(action[0]), False, over, {"cost": 1.0}


def told(updates, length=8, limit=100.0, name="PPOLag", **settings):
    """Return the warnings of a training of so many updates."""
    agent = getattr(agents, name)("MlpPolicy", Constant(length, limit), **(SMALL | settings))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        agent.learn(16 * updates)
        agent.learn(16 * updates, reset_num_timesteps=False)
    return [str(one.message) for one in caught if issubclass(one.category, TrainingWarning)]


def test_a_training_in_order_says_nothing():
    assert told(60) == []


def test_no_episode_ends():
    (message,) = told(6, length=10**9)
    assert message == (
        "no episode has ended in 5 updates (80 steps), so no cost is measured and the prices are "
        "held; pass a larger n_steps, or give the environment a time limit "
        "(gymnasium.wrappers.TimeLimit)"
    )
    assert told(2, length=10**9) == []


def test_the_limit_is_below_what_any_policy_reaches():
    messages = told(60, limit=3.0, name="PPOALM", penalty=1e-9)
    assert [m for m in messages if "in 50 updates the episodes of no policy have cost less" in m]
    reach = [m for m in messages if "out of reach" in m]
    assert len(reach) == 1
    assert "the limit of 'harm' is 3" in reach[0]
    assert "cost less than 8 on average" in reach[0]
    assert "pass a higher cost_limit" in reach[0]


def test_the_price_grows_and_the_violation_does_not_fall():
    messages = [m for m in told(80, limit=3.0) if "price" in m]
    assert len(messages) == 1
    assert "over 30 updates the price of 'harm' has grown from" in messages[0]
    assert "its violation has not fallen (5 before, 5 now)" in messages[0]
    assert "try a higher learning_rate or longer rollouts" in messages[0]


def test_every_action_is_at_its_bound():
    messages = told(4, policy_kwargs={"log_std_init": 7.0})
    assert len(messages) == 1
    assert "in 3 rollouts in a row every action was at its bound" in messages[0]
    assert "start again with a lower learning_rate" in messages[0]
    assert told(4, policy_kwargs={"log_std_init": 0.0}) == []


@pytest.mark.parametrize("name", ["PPO", "PPOALM", "TRPOLag", "CPO"])
def test_other_agents_warn_alike(name):
    assert len(told(6, length=10**9, name=name)) == 1


def watched(limits, costs):
    """Return the warnings about updates with these limits and mean costs of one constraint."""
    watch = TrainingWatch(["harm"])
    batch = Batch(*(torch.zeros(2, 2) for _ in range(5)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for limit, cost in zip(limits, costs, strict=True):
            measured = Measurement(
                np.array([cost]), np.array([limit]), np.ones(1), 1, *np.zeros((2, 1))
            )
            watch.update(measured, np.zeros(0), batch, 0.0)
    return [str(one.message) for one in caught]


def test_a_limit_that_falls_is_met_at_each_value_of_its_own():
    falling = np.linspace(25.0, 5.0, 200)
    late = np.concatenate((falling[:1], falling[:-1]))  # the costs follow one update later
    assert watched(falling, np.where(np.arange(200) % 5, late, falling)) == []
    lowered = np.array([25.0] * 60 + [5.0] * 60)
    assert watched(lowered[:100], np.full(100, 20.0)) == []
    (message,) = watched(lowered, np.full(120, 20.0))  # 50 updates at the new limit
    assert "the limit of 'harm' is 5, and in 50 updates" in message
    (message,) = watched(np.linspace(10.0, 5.0, 60), np.full(60, 20.0))  # never met at all
    assert "cost less than 20 on average" in message
