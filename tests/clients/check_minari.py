"""Minari: a dataset is recorded, saved and loaded, with its limits."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import minari
from environments import ENVIRONMENTS, costs_of
from harness import Case, names_of, report

import safe_envs

STEPS = 1000
ARRIVES = '`episode.infos["cost"]`'


def reloaded(page, env_id, arguments):
    env = gym.make(env_id, **arguments)
    dataset_id = f"{env_id.lower().replace('/', '-').rpartition('-')[0]}/random-v0"
    page["record"](env, dataset_id, STEPS)
    dataset = minari.load_dataset(dataset_id)
    declared = safe_envs.dataset_metadata(env)
    kept = {name: dataset.storage.metadata[name] for name in declared}
    if kept != declared:
        raise AssertionError(f"the dataset has {kept}, the environment {declared}")
    again = gym.make(
        kept["env_id"], max_episode_steps=kept["max_episode_steps"], **kept["env_kwargs"]
    )
    if safe_envs.dataset_metadata(again) != declared:
        raise AssertionError("the environment made from the dataset declares something else")
    costs = page["costs_of_episodes"](dataset)
    truth, begun = 0.0, 0
    for episode in dataset:
        truth += costs_of(env_id, episode.actions, seeds=[begun], **arguments)
        begun += len(episode)  # the seed is the number of steps before the episode
    return dataset.total_steps, sum(costs), truth


def cases():
    page = names_of("minari")
    for env_id, arguments in ENVIRONMENTS.items():
        yield Case(env_id, "single", ARRIVES, partial(reloaded, page, env_id, arguments))


if __name__ == "__main__":
    report("minari", cases())
