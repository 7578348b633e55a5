"""Schedules of one's own: what they return is held to the range of a constant."""

import math

import numpy as np
import pytest

import agents
from agents.schedules import scheduled

ENV = "Safe/DeepSeaTreasure-v0"
SETTINGS = [
    ("PPOLag", "learning_rate"),
    ("PPOLag", "clip_range"),
    ("TRPOLag", "learning_rate"),
    ("TRPOLag", "max_kl"),
    ("CPO", "max_kl"),
]


@pytest.mark.parametrize("wrong", [-0.01, math.nan, math.inf, None])
@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_a_wrong_number_ends_the_training(name, setting, wrong):
    """A negative rate would climb the loss; the other ones would silently learn nothing."""

    def schedule(progress_remaining):
        return 0.01 if progress_remaining > 0.5 else wrong

    agent = getattr(agents, name)("MlpPolicy", ENV, seed=0, n_steps=16, **{setting: schedule})
    message = rf"^{setting} is {wrong} at a remaining progress of 0\.5; its schedule has to return"
    with pytest.raises(ValueError, match=message):
        agent.learn(64)
    assert agent.num_timesteps == 48  # 1, 0.75 and 0.5 of it remained before the three rollouts


@pytest.mark.parametrize("one", [np.float32(0.5), np.array(0.5), 1, 0])
def test_numbers_of_any_kind_are_taken(one):
    assert scheduled("max_kl", lambda progress_remaining: one, 1.0) == float(one)


def test_a_constant_has_no_progress():
    assert scheduled("clip_range", math.inf, 0.5) == math.inf  # no clipping
