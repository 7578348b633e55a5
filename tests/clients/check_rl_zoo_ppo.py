"""RL Zoo: Stable-Baselines3's PPO, through the Zoo's own command."""

from __future__ import annotations

import sys
import tempfile
from functools import partial

from environments import ENVIRONMENTS, costs_of_episodes, recorded_makes, steps_in
from harness import Case, names_of, report

STEPS = 1000
ARRIVES = "`monitor.csv` with `info_keywords`"


def trained(page, env_id, arguments):
    with tempfile.TemporaryDirectory() as folder, recorded_makes() as made:
        cost = sum(page["train_ppo"](env_id, STEPS, folder, **arguments))
    truth = 0.0
    for events in made:
        *finished, _ = costs_of_episodes(env_id, events, **arguments)
        truth += sum(finished)
    return sum(map(steps_in, made)), cost, truth


def cases():
    given = sys.argv
    page = names_of("rl_zoo_ppo")
    for env_id, arguments in ENVIRONMENTS.items():
        run = partial(trained, page, env_id, arguments)
        yield Case(env_id, "single, finished episodes", ARRIVES, run)
    sys.argv = given  # the Zoo reads its arguments there


if __name__ == "__main__":
    report("rl_zoo3", cases())
