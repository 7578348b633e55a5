"""skrl: its own PPO trains in single and vector environments."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import skrl
from environments import ENVIRONMENTS, costs_of, costs_of_copies, recorded_actions
from harness import Case, names_of, report

NUM_ENVS = 4
STEPS = 1000
ARRIVES = "`infos` of `record_transition`"


def single(page, env_id, arguments):
    env = gym.make(env_id, **arguments)
    actions = recorded_actions(env)
    agent = page["train"](env, timesteps=STEPS)
    truth = costs_of(env_id, actions, seeds=[skrl.config.torch.key], **arguments)
    return len(actions), agent.total_cost, truth


def vector(page, env_id, arguments):
    copies = gym.make_vec(env_id, NUM_ENVS, **arguments)
    actions = recorded_actions(copies)
    agent = page["train"](copies, timesteps=STEPS // NUM_ENVS)
    truth = costs_of_copies(env_id, actions, seeds=[skrl.config.torch.key], **arguments)
    return len(actions) * NUM_ENVS, agent.total_cost, truth


def cases():
    page = names_of("skrl")
    for env_id, arguments in ENVIRONMENTS.items():
        yield Case(env_id, "single", ARRIVES, partial(single, page, env_id, arguments))
        yield Case(env_id, "vector", ARRIVES, partial(vector, page, env_id, arguments))


if __name__ == "__main__":
    report("skrl", cases())
