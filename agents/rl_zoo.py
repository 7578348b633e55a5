"""The agents in RL Baselines3 Zoo: importing this module adds them to its algorithms.

Each has its class name in lower case ("ppolag" for `agents.PPOLag`) and a space for the Zoo's
hyperparameter search. Names that the Zoo itself uses keep their meaning: "ppo" stays
Stable-Baselines3's, and `agents.PPO` is "agents_ppo".

The Zoo's commands check `--algo` before they import `--gym-packages`. To make the agents available,
either run the commands through this module (`python -m agents.rl_zoo train --algo ppolag ...`), or
import it in a file `custom_envs.py` in the working directory, which the Zoo imports first.

`hyperparams` makes this module a configuration that fits every agent: `--conf-file agents.rl_zoo`.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

import safe_envs  # noqa: F401  registers the ids
from agents.constrained_agent import ConstrainedAgent
from agents.named_agents import NAMED_AGENTS, named_agent
from agents.search_spaces import SearchSpace, SearchTrial
from safe_envs.contract.argument_checks import unknown_name

try:
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
    from rl_zoo3.utils import ALGOS
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "rl_zoo3":
        raise
    raise gym.error.DependencyNotInstalled(
        "agents.rl_zoo needs RL Baselines3 Zoo: pip install rl_zoo3 requests pandas"
    ) from error

# The Zoo's commands that take `--algo`, and their modules.
COMMANDS = ("train", "enjoy", "record_video", "record_training", "push_to_hub", "load_from_hub")


def __getattr__(name: str) -> Any:
    """Return `hyperparams`, a new copy each time, because the Zoo changes what it reads.

    They are the Zoo's own defaults for environments without settings.
    """
    if name == "hyperparams":
        return {"default": {"n_timesteps": 1e6, "policy": "MlpPolicy"}}
    raise AttributeError(f"module 'agents.rl_zoo' has no attribute {name!r}")


def zoo_name(agent: str) -> str:
    """Return the Zoo's name for an agent of this package."""
    kind, name = named_agent(agent), agent.lower()
    return name if ALGOS.get(name, kind) is kind else f"agents_{name}"


def register(name: str, agent: type[ConstrainedAgent]) -> None:
    """Add an agent and its search space to the Zoo.

    Args:
        name: for `--algo`.
        agent: the class; one of your own works as well.

    Raises:
        ValueError: if the Zoo has another algorithm with that name.
    """
    if ALGOS.get(name, agent) is not agent:
        raise ValueError(
            f"the Zoo already has an algorithm {name!r}, {ALGOS[name].__name__}; pass another name"
        )

    def sample(
        trial: SearchTrial, n_actions: int, n_envs: int, additional_args: dict[str, Any]
    ) -> dict[str, Any]:
        return SearchSpace(agent).sample(trial)

    def convert(parameters: dict[str, Any]) -> dict[str, Any]:
        return SearchSpace(agent).arguments(parameters)

    ALGOS[name] = agent
    HYPERPARAMS_SAMPLER[name] = sample
    HYPERPARAMS_CONVERTER[name] = convert


def main(arguments: Sequence[str]) -> None:
    """Run a command of the Zoo, unchanged, with the agents among its algorithms.

    Args:
        arguments: the command, a name of `COMMANDS`, and the arguments it takes.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit(f"usage: python -m agents.rl_zoo {{{','.join(COMMANDS)}}} --algo NAME ...")
    command, *rest = arguments
    if command not in COMMANDS:
        sys.exit(unknown_name("command", command, COMMANDS))
    sys.argv = [command, *rest]
    runpy.run_module(f"rl_zoo3.{command}", run_name="__main__", alter_sys=True)


for _name in NAMED_AGENTS:
    register(zoo_name(_name), named_agent(_name))

if __name__ == "__main__":
    main(sys.argv[1:])
