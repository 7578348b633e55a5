"""Tuned settings of an agent as a YAML file for RL Zoo.

`python -m baselines.zoo_settings CPO SafetyHopperVelocity-v1 > cpo.yml` writes the settings in
baselines/hyperparameters for this agent and environment in the Zoo's format, for its `--conf-file`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import tyro
from gymnasium import spaces

import safe_envs  # noqa: F401  registers the environments
from baselines.names.agents import default_hyperparameters, kind_of
from baselines.names.hyperparameters import hyperparameters_for
from baselines.shell_command import shell_command


@dataclass(frozen=True)
class ZooSettingsOptions:
    """Print tuned settings of an agent as a YAML file for RL Zoo."""

    agent: Annotated[str, tyro.conf.Positional]
    """Class of `agents`, such as PPOLag."""
    env: Annotated[str, tyro.conf.Positional]
    """Id of the environment."""
    total_timesteps: int = 1_000_000
    """Environment steps of a training run; the Zoo's -n overrides it."""


def zoo_settings(agent: str, env_id: str, total_timesteps: int) -> dict[str, Any]:
    """Return the Zoo's entry for an agent on an environment: settings that are not the defaults.

    Raises:
        ValueError: if there is no deep agent of that name.
        gym.error.Error: if Gymnasium cannot make the environment.
    """
    if kind_of(agent) != "deep agent":
        raise ValueError(
            f"{agent} is not a deep agent; RL Zoo takes only the deep agents of `agents`"
        )
    defaults = default_hyperparameters(agent)
    tuned = hyperparameters_for(agent, env_id)
    settings = {name: value for name, value in tuned.items() if value != defaults[name]}
    env = gym.make(env_id)
    space = env.observation_space
    env.close()
    usual = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    policy = settings.pop("policy", usual)
    return {"n_timesteps": total_timesteps, "policy": policy, **settings}


def as_yaml(env_id: str, entry: dict[str, Any]) -> str:
    """Return the text of a YAML file with one environment."""
    lines = [f"  {name}: {_text(value)}\n" for name, value in entry.items()]
    return f"{json.dumps(env_id)}:\n{''.join(lines)}"


def _text(value: Any) -> str:
    """Return a value on one line, as JSON, which is valid YAML except for numbers like 1e-05."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_text(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_text(one) for one in value)}]"
    if value == float("inf"):
        return ".inf"
    if isinstance(value, float):
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}{e}{exponent}"
    return json.dumps(value)


def main(arguments: list[str] | None = None) -> int:
    """Print the file and return the exit code; 2 for an invalid argument."""
    options = tyro.cli(
        ZooSettingsOptions, prog=shell_command("baselines.zoo_settings"), args=arguments
    )
    try:
        entry = zoo_settings(options.agent, options.env, options.total_timesteps)
    except (ValueError, gym.error.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(as_yaml(options.env, entry), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
