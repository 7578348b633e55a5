"""Exact values of a policy that is known by its `predict`, where the environment has a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.training_env import Contract
from baselines.measures.episode_statistics import ExactValues
from baselines.names.environments import (
    EnvironmentName,
    find_tabular_model,
    find_tabular_observations,
)


def exact_values_of(
    model: Any, env: EnvironmentName, contract: Contract, deterministic: bool
) -> ExactValues | None:
    """Return the values of an agent with the face of Stable-Baselines3, as `exact_values_by`.

    The probabilities of Stable-Baselines3's actor-critic policies are known, and the single choice
    of every policy without memory.
    """

    def probabilities(seen: np.ndarray) -> np.ndarray | None:
        starts = np.ones(len(seen), dtype=np.bool_)
        actions, memory = model.predict(seen, state=None, episode_start=starts, deterministic=True)
        policy = vars(model).get("policy")
        if memory is not None:
            return None
        if deterministic:
            return one_hot(actions, env)
        if not isinstance(policy, ActorCriticPolicy):
            return None
        with torch.no_grad():
            distribution: Any = policy.get_distribution(policy.obs_to_tensor(seen)[0]).distribution
        found: np.ndarray = distribution.probs.double().cpu().numpy()
        return found

    return exact_values_by(probabilities, env, contract)


def exact_values_by(
    probabilities: Callable[[np.ndarray], np.ndarray | None],
    env: EnvironmentName,
    contract: Contract,
) -> ExactValues | None:
    """Return a policy's values by the environment's tabular model.

    None if there is no model, if its observation of each state is unknown, or if the policy's
    probabilities are.

    Args:
        probabilities: of the actions, (S, A), from the observations of all states, (S, ...).
        env: where the policy acts.
        contract: the limits in force.
    """
    cmdp, seen = find_tabular_model(env), find_tabular_observations(env)
    found = None if cmdp is None or seen is None else probabilities(seen)
    if cmdp is None or found is None:
        return None
    exact = cmdp.evaluate(found / found.sum(axis=1, keepdims=True))
    limits = np.array([one.limit for one in contract.constraints])
    return ExactValues(exact.value, exact.costs.tolist(), (exact.costs - limits).tolist())


def one_hot(actions: np.ndarray, env: EnvironmentName) -> np.ndarray:
    """Return the probabilities (S, A) of a policy that always takes these actions, (S,)."""
    cmdp = find_tabular_model(env)
    assert cmdp is not None, "only environments with a model are asked for"
    return np.eye(cmdp.num_actions)[np.asarray(actions, dtype=np.int64).ravel()]
