"""RL Zoo: its own commands train, search and replay each agent, and the costs arrive."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from environments import costs_of
from harness import Case, names_of, report
from stable_baselines3.common.callbacks import BaseCallback

STEPS = 1000
SEED = 1
ARRIVES = '`info["cost"]` of the callbacks'
PLACES = {"scpo": "Safe/DoubleIntegrator-v0"}  # it needs a safe controller to start from
SETTINGS = ("n_steps:250", "callback:'check_rl_zoo.Recorder'")
SEARCHED = ("env_wrapper:'agents.constrained_score.ConstrainedScore'",)


class Recorder(BaseCallback):
    """Keeps the actions and the costs of the last training; the Zoo makes it from its name."""

    actions: list[np.ndarray] = []
    cost = 0.0

    def _on_training_start(self):
        Recorder.actions, Recorder.cost = [], 0.0

    def _on_step(self):
        Recorder.actions.append(self.locals["actions"][0])
        Recorder.cost += self.locals["infos"][0]["cost"]
        return True


def trained(page, algo):
    import check_rl_zoo  # this file, as the Zoo imports it
    from rl_zoo3.enjoy import enjoy

    chosen = ("--algo", algo, "--env", PLACES.get(algo, "Safe/CliffWorld-v0"))
    config = ("--conf-file", "agents.rl_zoo", "--seed", str(SEED))
    # SCPO counts the steps of its validation, 9,600 before it learns.
    steps = 20 * STEPS if algo == "scpo" else STEPS
    budget = ("--n-timesteps", str(steps))
    page["run"](*chosen, *config, *budget, "--hyperparams", *SETTINGS)
    seen = check_rl_zoo.Recorder
    counted, cost, actions = len(seen.actions), seen.cost, seen.actions
    sys.argv = ["enjoy", *chosen, "--folder", "logs", "--no-render", "--n-timesteps", "200"]
    enjoy()
    return counted, cost, costs_of(chosen[-1], actions, seeds=[SEED])


def searched(page):
    """One trial of a search, with the score; the costs are those of its training."""
    import check_rl_zoo

    chosen = ("--algo", "ppolag", "--env", "Safe/CliffWorld-v0", "--conf-file", "agents.rl_zoo")
    search = ("-optimize", "--n-trials", "1", "--n-startup-trials", "1", "--no-optim-plots")
    budget = ("--n-timesteps", str(STEPS), "--eval-episodes", "2", "--seed", str(SEED))
    page["run"](*chosen, *search, *budget, "--hyperparams", *SETTINGS, *SEARCHED)
    seen = check_rl_zoo.Recorder
    truth = costs_of("Safe/CliffWorld-v0", seen.actions, seeds=[SEED])
    return len(seen.actions), seen.cost, truth


def cases():
    given = sys.argv
    page = names_of("rl_zoo")
    from agents.named_agents import NAMED_AGENTS
    from agents.rl_zoo import zoo_name

    for algo in map(zoo_name, NAMED_AGENTS):
        env_id = PLACES.get(algo, "Safe/CliffWorld-v0")
        yield Case(env_id, f"`--algo {algo}`", ARRIVES, partial(trained, page, algo))
    yield Case("Safe/CliffWorld-v0", "`--algo ppolag -optimize`", ARRIVES, partial(searched, page))
    sys.argv = given  # the Zoo reads its arguments there


if __name__ == "__main__":
    report("rl_zoo3", cases())
