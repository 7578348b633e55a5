"""CleanRL: its PPO for both kinds of actions, from the public files, unchanged."""

from __future__ import annotations

import os
import sys
import urllib.request
from functools import partial

from environments import ENVIRONMENTS, costs_of_episodes, recorded_makes, steps_in
from harness import Case, names_of, report
from venvs import CACHE

COMMIT = "fe8d8a03c41a7ef5b523e2e354bd01c363e786bb"
SOURCE = f"https://raw.githubusercontent.com/vwxyzjn/cleanrl/{COMMIT}/cleanrl"
DISCRETE, CONTINUOUS = "ppo.py", "ppo_continuous_action.py"
STEPS = 1000
ARRIVES = '`infos["cost"]`, `final_info`'
OWN_IDS = {"Safe/CliffWorld-v0": "OneHotCliffWorld-v0"}  # the page registers them
# Gymnasium 0.29.1, for which the files are written, has a swimmer that current MuJoCo rejects.
NOT_RUN = ("SafetySwimmerVelocity-v1",)


def fetch():
    """Go to the folder with the public files, which are downloaded if they are not there."""
    folder = CACHE / "cleanrl"
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for file in (DISCRETE, CONTINUOUS):
        if not os.path.isfile(file):
            urllib.request.urlretrieve(f"{SOURCE}/{file}", file)


def trained(page, env_id, arguments):
    file = DISCRETE if env_id in OWN_IDS else CONTINUOUS
    with recorded_makes() as made:
        cost = page["train"](file, OWN_IDS.get(env_id, f"safe_envs:{env_id}"), STEPS)
    truth = sum(sum(costs_of_episodes(env_id, events, **arguments)) for events in made)
    return sum(map(steps_in, made)), cost, truth


def cases():
    given = sys.argv
    page = names_of("cleanrl")
    for env_id, arguments in ENVIRONMENTS.items():
        if env_id not in NOT_RUN:
            run = partial(trained, page, env_id, arguments)
            yield Case(env_id, "vector of single envs", ARRIVES, run)
    sys.argv = given


if __name__ == "__main__":
    fetch()
    report("cleanrl", cases(), version=COMMIT[:7])
