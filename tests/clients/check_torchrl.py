"""torchrl: rollouts of single and vector environments."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
from environments import ENVIRONMENTS, costs_of, costs_of_copies
from harness import Case, names_of, report

NUM_ENVS = 4
STEPS = 1000
ARRIVES = '`rollout["next", "cost"]`'


def actions_of(rollout, env_id):
    actions = rollout["action"].numpy()
    discrete = isinstance(gym.make(env_id).action_space, gym.spaces.Discrete)
    return actions.argmax(axis=-1) if discrete else actions


def single(page, env_id, arguments):
    env = page["make"](env_id, **arguments)
    env.set_seed(0)
    rollout = env.rollout(STEPS, break_when_any_done=False)
    actions = actions_of(rollout, env_id)
    truth = costs_of(env_id, actions, seeds=[0, None], **arguments)  # rollouts begin by a reset
    return len(actions), rollout["next", "cost"].sum(), truth


def vector(page, env_id, arguments):
    env = page["make_vec"](env_id, NUM_ENVS, **arguments)
    env.set_seed(0)
    rollout = env.rollout(STEPS // NUM_ENVS, break_when_any_done=False)
    actions = actions_of(rollout, env_id).swapaxes(0, 1)  # (steps, copies, ...)
    truth = costs_of_copies(
        env_id,
        actions,
        seeds=[0, None],
        reset_when_all_end=True,
        autoreset_mode="SameStep",
        **arguments,
    )
    return len(actions) * NUM_ENVS, rollout["next", "cost"].sum(), truth


def cases():
    page = names_of("torchrl")
    for env_id, arguments in ENVIRONMENTS.items():
        yield Case(env_id, "single", ARRIVES, partial(single, page, env_id, arguments))
        yield Case(env_id, "vector", ARRIVES, partial(vector, page, env_id, arguments))


if __name__ == "__main__":
    report("torchrl", cases())
