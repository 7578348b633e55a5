"""Makes an agent and its environments from hyperparameters, which are plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents import ConstrainedAgent, make_vec_env
from agents.training_env import Contract, contract_of
from baselines.names.agents import RUNNER_SETTINGS
from baselines.names.environments import EnvironmentName
from baselines.names.schedules import SCHEDULES, linear_schedule
from safe_envs.contract.argument_checks import unknown_name
from safe_envs.contract.cost_signal import CostLimits

ACTIVATIONS = {"Tanh": nn.Tanh, "ReLU": nn.ReLU, "ELU": nn.ELU}


def make_training_env(env: EnvironmentName, n_envs: int) -> VecEnv:
    """Return copies of an environment.

    Raises:
        ValueError: if it cannot be made, or its code cannot be imported or has changed since the
            job was planned.
    """
    source, arguments = env.source(), dict[str, Any](env.kwargs)
    with env.making(source, arguments):
        return make_vec_env(source, n_envs, **arguments)


def contract_in_force(env: EnvironmentName, cost_limit: CostLimits) -> Contract:
    """Return the constraints and the discount of episodes of an environment.

    Args:
        env: which declares them.
        cost_limit: as an agent takes it; None keeps the declared limits.

    Raises:
        CostSignalError, ValueError: as `agents.training_env.contract_of`.
    """
    venv = make_training_env(env, 1)
    try:
        return contract_of(venv, cost_limit, required=True)
    finally:
        venv.close()


def make_agent(
    kind: type[ConstrainedAgent], venv: VecEnv, hyperparameters: Mapping[str, Any], seed: int
) -> ConstrainedAgent:
    """Return an untrained agent.

    Args:
        kind: class of the agent.
        venv: its environments.
        hyperparameters: from `hyperparameters_for`.
        seed: random seed.

    Raises:
        ValueError, TypeError: for a setting out of range.
        CostSignalError: if the environment declares no constraints and there is no cost_limit.
    """
    policy = policy_for(venv, hyperparameters["policy"])
    model = kind(policy, venv, seed=seed, **constructor_arguments(hyperparameters))
    if not model.constraints:
        raise ValueError(
            "the environment declares no constraints, so there is nothing to compare; pass "
            "cost_limit, which then bounds the sum of info['cost'] over an episode"
        )
    return model


def policy_for(venv: VecEnv, chosen: str | None) -> str:
    """Return the name of the policy, by the observations unless it is chosen."""
    is_dict = isinstance(venv.observation_space, spaces.Dict)
    return chosen or ("MultiInputPolicy" if is_dict else "MlpPolicy")


def constructor_arguments(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an agent's class: without the runner's, with schedules and classes.

    Raises:
        ValueError: for a schedule or an activation function that does not exist.
    """
    settings = {k: v for k, v in hyperparameters.items() if k not in RUNNER_SETTINGS}
    for name in SCHEDULES:
        if isinstance(settings.get(name), str):
            settings[name] = linear_schedule(name, settings[name])
    if settings.get("policy_kwargs"):
        settings["policy_kwargs"] = _policy_arguments(settings["policy_kwargs"])
    return settings


def _policy_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    arguments = dict(given)
    name = arguments.get("activation_fn")
    if name is not None and not isinstance(name, type):  # a class, from Python
        if name not in ACTIVATIONS:
            raise ValueError(unknown_name("activation_fn", str(name), ACTIVATIONS))
        arguments["activation_fn"] = ACTIVATIONS[name]
    return arguments
