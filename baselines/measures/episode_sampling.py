"""Fresh episodes of a policy or a controller, in several copies of its environment at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from agents import ConstrainedAgent, episode_sampling
from agents.episode_sampling import Predictor, own_random_numbers
from agents.evaluation_result import EvaluationResult
from agents.training_env import Contract
from baselines.measures.episode_statistics import (
    EpisodeStatistics,
    ExactValues,
    summarize_episodes,
)
from baselines.names.environments import (
    EnvironmentName,
    find_tabular_model,
    find_tabular_observations,
)

# Environments of training start from seeds below 2**31 plus their number; evaluations from above.
FIRST_SEED = 3 * 2**30
BLOCK = 16  # seeds of one evaluation: one per copy, and the last one for the policy's draws
BLOCKS = 2**26  # below 2**32, which some environments do not exceed or take seeds modulo


def evaluate_policy(
    model: ConstrainedAgent,
    venv: VecEnv,
    env: EnvironmentName,
    episodes: int,
    seed: int,
    deterministic: bool,
) -> EpisodeStatistics:
    """Return statistics of fresh episodes, and exact values if there is a model.

    Args:
        model: its policy is evaluated.
        venv: copies of the environment.
        env: what they are copies of.
        episodes: at least one.
        seed: of the environments and of the policy's draws.
        deterministic: take the most likely action, or the Gaussian's mean.
    """
    contract = Contract(model.constraints, model.reward_discount)
    drawn = sample_episodes(model, venv, contract, episodes, seed, deterministic)
    return summarize_episodes(drawn, exact_values(model, env, deterministic))


def sample_episodes(
    model: Predictor,
    venv: VecEnv,
    contract: Contract,
    episodes: int,
    seed: int,
    deterministic: bool,
) -> EvaluationResult:
    """Return fresh episodes, as `agents.episode_sampling` plays them.

    Args:
        model: what acts.
        venv: copies of the environment.
        contract: the constraints and the discounts to sum with.
        episodes: at least one.
        seed: of the evaluation; see `seeds_of`.
        deterministic: take the most likely action, or the Gaussian's mean.

    Raises:
        ValueError: if there are more copies than seeds of one evaluation.
    """
    if venv.num_envs >= BLOCK:
        raise ValueError(
            f"there are {venv.num_envs} copies of the environment, but an evaluation has seeds for "
            f"{BLOCK - 1}; more would play the episodes of the next seed: make at most {BLOCK - 1}"
        )
    first_env_seed, policy_seed = seeds_of(seed)
    with own_random_numbers(model, policy_seed):
        return episode_sampling.sample_episodes(
            model,
            venv,
            contract,
            episodes,
            seed=seed,
            first_env_seed=first_env_seed,
            deterministic=deterministic,
        )


class EvaluationSeeds(NamedTuple):
    """What the random numbers of an evaluation start from."""

    first_env: int  # of the first copy; the others have the following ones
    policy: int


def seeds_of(seed: int) -> EvaluationSeeds:
    """Return the seeds of an evaluation, which no other evaluation and no training uses.

    Evaluation k has the 16 seeds from 3 * 2**30 + 16 k on, for k below 2**26. The seeds of the
    others are above 2**32, and equal to smaller ones modulo 2**32.

    Args:
        seed: of the evaluation, at least 0.
    """
    above, block = divmod(seed, BLOCKS)
    first = above * 2**32 + FIRST_SEED + BLOCK * block
    return EvaluationSeeds(first, first + BLOCK - 1)


def exact_values(
    model: ConstrainedAgent, env: EnvironmentName, deterministic: bool
) -> ExactValues | None:
    """Return the policy's values by the environment's tabular model.

    None if it has none, or if its observation of each state is unknown.
    """
    cmdp, seen = find_tabular_model(env), find_tabular_observations(env)
    if cmdp is None or seen is None:
        return None
    with torch.no_grad():
        distribution: Any = model.policy.get_distribution(torch.as_tensor(seen)).distribution
    probabilities = distribution.probs.double().numpy()  # (S, A)
    if deterministic:
        probabilities = np.eye(cmdp.num_actions)[probabilities.argmax(axis=1)]
    else:
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    exact = cmdp.evaluate(probabilities)
    violation = exact.costs - model.cost_limit
    return ExactValues(exact.value, exact.costs.tolist(), violation.tolist())
