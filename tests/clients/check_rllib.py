"""RLlib: its own PPO, with a callback that reads the costs."""

from __future__ import annotations

from functools import partial

from environments import ENVIRONMENTS, costs_of_episodes, recorded_events, steps_in
from harness import Case, names_of, report

STEPS = 1000
ARRIVES = '`episode.get_infos(-1)["cost"]` of callbacks'


def recording(page):
    """Make the page's callback record every environment; return the list of their events."""
    made = []

    class Recording(page["LogCosts"]):
        def on_environment_created(self, *, env, **others):
            made.extend(recorded_events(copy) for copy in env.envs)

    return made, Recording


def trained(page, env_id, num_envs, arguments):
    given = page["LogCosts"]
    made, page["LogCosts"] = recording(page)
    try:
        measured = page["train"](env_id, num_envs, STEPS, **arguments)
    finally:
        page["LogCosts"] = given
    truth = sum(sum(costs_of_episodes(env_id, events, **arguments)) for events in made)
    return sum(map(steps_in, made)), measured["total_cost"], truth


def cases():
    page = names_of("rllib")
    for env_id, arguments in ENVIRONMENTS.items():
        for form, num_envs in (("single", 1), ("vector of single envs", 2)):
            yield Case(env_id, form, ARRIVES, partial(trained, page, env_id, num_envs, arguments))


if __name__ == "__main__":
    report("ray", cases())
