"""Agents learn the same from a state's number as from its row of the identity matrix."""

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
