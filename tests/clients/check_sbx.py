"""SBX: PPO in JAX, with the callbacks of Stable-Baselines3."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
from environments import ENVIRONMENTS, costs_of, recorded_actions
from harness import Case, names_of, report

NUM_ENVS = 4
STEPS = 1000
ARRIVES = '`infos[i]["cost"]` of callbacks'


def single(page, env_id, arguments):
    env = gym.make(env_id, **arguments)
    actions = recorded_actions(env)
    cost = page["train"](env, STEPS)
    return len(actions), cost, costs_of(env_id, actions, seeds=[0], **arguments)


def copies(page, env_id, arguments):
    envs = page["make_vec_env"](env_id, n_envs=NUM_ENVS, env_kwargs=arguments)
    actions = [recorded_actions(env) for env in envs.envs]
    cost = page["train"](envs, STEPS)
    truth = sum(
        costs_of(env_id, of_copy, seeds=[copy], **arguments) for copy, of_copy in enumerate(actions)
    )
    return sum(map(len, actions)), cost, truth


def cases():
    page = names_of("sbx")
    for env_id, arguments in ENVIRONMENTS.items():
        yield Case(env_id, "single", ARRIVES, partial(single, page, env_id, arguments))
        yield Case(
            env_id, "vector of single envs", ARRIVES, partial(copies, page, env_id, arguments)
        )


if __name__ == "__main__":
    report("sbx-rl", cases())
