"""Agents with the settings that are tuned for an environment, from Python."""

from __future__ import annotations

from typing import Any

import agents
from agents import ConstrainedAgent
from baselines.jobs.settings import make_agent, make_training_env
from baselines.names.agents import DEEP_AGENTS, SET_BY_RUNNER
from baselines.names.environments import parse_environment_name
from baselines.names.hyperparameters import check_settings, hyperparameters_for
from safe_envs.contract.argument_checks import unknown_name


def tuned(agent: str, env: str, *, seed: int = 0, **changes: Any) -> ConstrainedAgent:
    """Return an untrained agent as `python -m baselines train` makes it.

    The classes' own defaults are tuned already. Tables of baselines/hyperparameters name what is
    better for an environment, such as a table of logits for a grid world.

    Args:
        agent: name of a deep agent, such as "PPOLag".
        env: Gymnasium id, or id?argument=value; the agent makes its own copies.
        seed: random seed.
        **changes: arguments of the agent's class, which override the tuned ones.

    Raises:
        ValueError: if there is no such agent or argument, or a value is out of range.
        gymnasium.error.Error: if Gymnasium cannot make the environment.
        CostSignalError: if the environment declares no constraints and there is no cost_limit.
    """
    if agent not in DEEP_AGENTS:
        raise ValueError(unknown_name("agent", agent, DEEP_AGENTS))
    own = {one: value for one, value in changes.items() if one in SET_BY_RUNNER}
    tuned_ones = {one: value for one, value in changes.items() if one not in own}
    check_settings(agent, tuned_ones)
    name = parse_environment_name(env)
    settings = hyperparameters_for(agent, name.id, {agent: tuned_ones})
    venv = make_training_env(name, settings["n_envs"])
    return make_agent(getattr(agents, agent), venv, {**settings, **own}, seed)
