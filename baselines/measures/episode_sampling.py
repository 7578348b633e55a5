"""Fresh episodes of a policy or a controller, in several copies of its environment at once."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from agents import ConstrainedAgent
from agents.rollout import checked_signals
from agents.training_env import Contract
from baselines.measures.episode_statistics import (
    Episodes,
    EpisodeStatistics,
    ExactValues,
    summarize_episodes,
)
from baselines.names.environments import (
    EnvironmentName,
    find_tabular_model,
    find_tabular_observations,
)
from safe_envs.contract.episode_totals import Episode, EpisodeTotals

MOST_COPIES = 10
FIRST_SEED = 2**32  # training uses smaller ones

Memory = tuple[np.ndarray, ...] | None


class Predictor(Protocol):
    """What acts: an agent of Stable-Baselines3, or anything with its `predict`."""

    def predict(
        self, observation: Any, state: Memory, episode_start: Any, deterministic: bool, /
    ) -> tuple[np.ndarray, Memory]:
        """Return actions (N, ...) for N observations, and the memory to pass to the next call."""


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
    limits = model.cost_limit.tolist()
    exact = exact_values(model, env, deterministic)
    return summarize_episodes(drawn, limits, seed, exact)


def sample_episodes(
    model: Predictor,
    venv: VecEnv,
    contract: Contract,
    episodes: int,
    seed: int,
    deterministic: bool,
) -> Episodes:
    """Return the sums of fresh episodes.

    Which episodes count is decided before the first step: copy i contributes its first
    `quota[i]` episodes. Taking whichever end first would favor short ones.

    Args:
        model: what acts; the memory that its `predict` returns is passed to the next call.
        venv: copies of the environment; all play equal numbers of episodes, up to one.
        contract: the constraints and the discounts to sum with.
        episodes: at least one.
        seed: the environments start from seeds of 2**32 and above, which training never uses.
        deterministic: take the most likely action, or the Gaussian's mean.
    """
    copies = venv.num_envs
    quota = np.full(copies, episodes // copies) + (np.arange(copies) < episodes % copies)
    discounts = [constraint.discount for constraint in contract.constraints]
    totals = EpisodeTotals(copies, contract.reward_discount, discounts)
    finished: list[list[Episode]] = [[] for _ in range(copies)]
    venv.seed(FIRST_SEED + seed)
    observations: Any = venv.reset()
    dones = np.ones(copies, dtype=np.bool_)  # every copy starts an episode
    memory: Memory = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while any(len(done) < share for done, share in zip(finished, quota, strict=True)):
            actions, memory = model.predict(observations, memory, dones, deterministic)
            observations, rewards, dones, infos = venv.step(actions)
            signals = checked_signals(rewards, infos, len(discounts), "evaluation")
            for row, episode in totals.add(signals, dones):
                if len(finished[row]) < quota[row]:
                    finished[row].append(episode)
    kept = [episode for done in finished for episode in done]
    return Episodes(
        np.array([(episode.value, *episode.costs) for episode in kept]),
        np.array([(episode.plain_value, *episode.plain_costs) for episode in kept]),
        np.array([episode.length for episode in kept]),
    )


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
