"""Evaluates whatever acts in an environment: its return, its costs, and whether it is feasible."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecNormalize,
    unwrap_vec_normalize,
)

from agents.constrained_agent import ConstrainedAgent
from agents.episode_sampling import (
    LONGEST_EPISODE,
    Predictor,
    own_random_numbers,
    sample_episodes,
)
from agents.evaluation_result import EvaluationResult
from agents.exchanged_env import is_normalized
from agents.innermost_envs import innermost_envs
from agents.training_env import (
    AnyEnv,
    Contract,
    as_vec_env,
    check_form,
    contract_of,
    undeclared_constraints,
)
from safe_envs.contract.argument_checks import check_count, check_whole
from safe_envs.contract.cost_signal import ConstraintSpec, CostLimits

MOST_COPIES = 10  # made of an id
DECLARED = ("constraints", "reward_discount", "cost_space")  # by ConstrainedWrapper
FED = 1.0  # observations; statistics that saw none have a small count instead of 0


def evaluate(
    agent: Predictor,
    env: AnyEnv,
    episodes: int = 20,
    deterministic: bool = False,
    seed: int | None = None,
    cost_limit: CostLimits = None,
    n_envs: int | None = None,
    max_episode_steps: int = LONGEST_EPISODE,
) -> EvaluationResult:
    """Return fresh episodes of an agent with their returns and costs, and whether it is feasible.

    Returns and costs are sums with the discounts that the environment declares, or plain sums.
    Every copy of the environment plays its share of the episodes, so that short ones do not count
    more often.

    Training is not changed: PyTorch's, NumPy's and Python's random numbers continue as before, and
    the statistics of a VecNormalize stay as they are. Its rewards count as they were before it.
    Environments without a VecNormalize get the frozen statistics of the one that the agent
    trains in. Pass other environments than those of training: they are reset, and left in the
    middle of an episode.

    Args:
        agent: an agent of this package or of Stable-Baselines3, a policy, a controller, or any
            object with their `predict(observation, state, episode_start, deterministic)`.
        env: Gymnasium id, environment, Gymnasium vector environment, or VecEnv.
        episodes: at least one.
        deterministic: take the most likely action, or the Gaussian's mean. The constraints are on
            the stochastic policy, which is what agents train.
        seed: of the environments and of the policy's draws; None draws one, which the result
            holds. A controller with a generator of its own continues that one.
        cost_limit: one number, or one per constraint. None takes the limits in force of an agent of
            this package, else the declared ones.
        n_envs: copies to make if `env` is an id; None makes one per episode, up to 10.
        max_episode_steps: bound for episodes that do not end.

    Raises:
        TypeError: if `agent` or `env` is something else.
        ValueError: for a number out of range, a wrong number of limits, an agent with other
            actions, the environments of an agent in the middle of training, or observations that
            are not normalized as in training.
        CostSignalError: if the environment declares no constraints and there is no limit; at a
            step, if it has no cost.
        NonFiniteEnvError: at a step whose reward or observation is not finite.
        RuntimeError: if an episode does not end.
    """
    check_predictor(agent)
    check_count(episodes=episodes, max_episode_steps=max_episode_steps)
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    check_whole("seed", seed, low=0)
    # Consecutive seeds share no episode, and no environment seed needs more than 31 bits.
    first_env_seed, policy_seed = (np.random.SeedSequence(seed).generate_state(2) >> 2).tolist()
    with (
        own_random_numbers(agent, policy_seed),
        evaluation_env(agent, env, cost_limit, copies_of(env, n_envs, episodes)) as prepared,
    ):
        return sample_episodes(
            agent,
            prepared.venv,
            prepared.contract,
            episodes,
            seed=int(seed),
            first_env_seed=first_env_seed,
            deterministic=deterministic,
            max_episode_steps=max_episode_steps,
        )


class EvaluationEnv(NamedTuple):
    """Environments that give observations as in training, and what is measured in them."""

    venv: VecEnv
    contract: Contract


def check_predictor(agent: object) -> None:
    """Raise TypeError unless it has `predict`."""
    if isinstance(agent, type) or not isinstance(agent, Predictor):
        raise TypeError(
            f"agent is {agent!r}; pass a trained agent (not its class or its file), a policy, a "
            "controller, or an object with predict(observation, state, episode_start, "
            "deterministic) that returns actions and the next state"
        )


def copies_of(env: object, n_envs: int | None, episodes: int) -> int:
    """Return how many copies to make of an id.

    Raises:
        TypeError: if `env` is not an environment.
        ValueError: if `n_envs` is given for something else than an id, or is not positive.
    """
    check_form(env)
    if n_envs is None:
        return min(episodes, MOST_COPIES)
    check_count(n_envs=n_envs)
    if not isinstance(env, str):
        raise ValueError(
            f"n_envs is {n_envs}, but env is a {type(env).__name__}; copies are only made of an id"
        )
    return n_envs


@contextmanager
def evaluation_env(
    agent: object, env: AnyEnv, cost_limit: CostLimits, copies: int
) -> Iterator[EvaluationEnv]:
    """Prepare environments for an evaluation, and leave them as they were declared before.

    Args:
        agent: what acts.
        env: as in `evaluate`.
        cost_limit: as in `evaluate`.
        copies: to make of an id.

    Raises:
        ValueError, CostSignalError: as in `evaluate`.
    """
    own = agent.constraints if isinstance(agent, ConstrainedAgent) else ()
    with _declarations_kept(env):
        made = as_vec_env(env, copies, undeclared_constraints(cost_limit) or own)
        venv = made if isinstance(made, VecEnv) else DummyVecEnv([lambda: made])
        try:
            contract = _measured_contract(venv, own, cost_limit)
            _check_actions(agent, venv)
            with _apart_from_training(agent, venv), _as_in_training(agent, venv) as prepared:
                yield EvaluationEnv(prepared, contract)
        finally:
            if isinstance(env, str):
                venv.close()


def shares_environments(one: AnyEnv, other: AnyEnv) -> bool:
    """Return whether an environment is in both, as far as it is in this process."""
    cores = innermost_envs(other)
    return any(core is theirs for core in innermost_envs(one) for theirs in cores)


@contextmanager
def _declarations_kept(env: AnyEnv) -> Iterator[None]:
    """Take back what wrapping declares on an environment that declares no constraints.

    Otherwise the limits of this evaluation would be the declared ones of the next.
    """
    if not isinstance(env, gym.Env) or env.has_wrapper_attr("constraints"):
        yield
        return
    attributes = vars(env.unwrapped)
    before = {name: attributes[name] for name in DECLARED if name in attributes}
    try:
        yield
    finally:
        for name in DECLARED:
            attributes.pop(name, None)
        attributes.update(before)


def _measured_contract(
    venv: VecEnv, own: tuple[ConstraintSpec, ...], cost_limit: CostLimits
) -> Contract:
    """Return the constraints to judge by; `own` are those of the agent."""
    if cost_limit is not None or not own:
        return contract_of(venv, cost_limit, required=True)
    if not venv.has_attr("constraints"):
        return Contract(own, contract_of(venv, None, required=False).reward_discount)
    declared = venv.get_attr("constraints")[0]
    if len(declared) != len(own):
        raise ValueError(
            f"the agent has {len(own)} {_noun(own)} but the environment declares "
            f"{len(declared)} {_noun(declared)}; pass cost_limit with {len(declared)} "
            f"{'number' if len(declared) == 1 else 'numbers'}"
        )
    return contract_of(venv, [constraint.limit for constraint in own], required=True)


def _noun(constraints: tuple[ConstraintSpec, ...]) -> str:
    noun = "constraint" if len(constraints) == 1 else "constraints"
    return f"{noun} ({', '.join(repr(constraint.name) for constraint in constraints)})"


def _check_actions(agent: object, venv: VecEnv) -> None:
    if not isinstance(agent, BaseAlgorithm | BasePolicy):
        return
    if agent.action_space != venv.action_space:
        raise ValueError(
            f"the agent's actions are {agent.action_space} but the environment's are "
            f"{venv.action_space}; pass an environment like the one of training, with its wrappers"
        )


@contextmanager
def _apart_from_training(agent: object, venv: VecEnv) -> Iterator[None]:
    """Refuse the environments of an agent in training; after it, let the next `learn` reset them.

    `learn(reset_num_timesteps=False)` would otherwise go on from an observation before the reset.
    """
    trains_in = agent.get_env() if isinstance(agent, BaseAlgorithm) else None
    if not isinstance(agent, BaseAlgorithm) or trains_in is None:
        yield
        return
    if not shares_environments(trains_in, venv):
        yield
        return
    if agent._last_obs is not None and agent.num_timesteps < agent._total_timesteps:
        raise ValueError(
            f"env is the one that the agent trains in, after {agent.num_timesteps} of "
            f"{agent._total_timesteps} steps; an evaluation would cut its episodes off; pass "
            "another one"
        )
    try:
        yield
    finally:
        agent._last_obs = None


@contextmanager
def _as_in_training(agent: object, venv: VecEnv) -> Iterator[VecEnv]:
    """Give observations as in training, from statistics that do not change, and plain rewards."""
    trained = agent.get_vec_normalize_env() if isinstance(agent, BaseAlgorithm) else None
    given = unwrap_vec_normalize(venv)
    _check_normalization(given, trained, _trains_on_normalized(agent))
    if given is None:
        yield venv if trained is None else _with_statistics_of(trained, venv)
        return
    before = given.training, given.norm_reward
    given.training = given.norm_reward = False
    try:
        yield venv
    finally:
        given.training, given.norm_reward = before


def _trains_on_normalized(agent: object) -> bool | None:
    """Return whether a VecNormalize normalizes the observations in training; None if unknown."""
    if not isinstance(agent, BaseAlgorithm):
        return None
    if agent.get_env() is not None:
        return is_normalized(agent.get_env())
    if isinstance(agent, ConstrainedAgent) and agent.normalize_observation:
        return not agent.policy_kwargs["normalize_observation"]
    return None


def _with_statistics_of(trained: VecNormalize, venv: VecEnv) -> VecEnv:
    """Return the environments with observations standardized as in another VecNormalize."""
    if not trained.norm_obs:
        return venv
    frozen = VecNormalize(
        venv,
        training=False,
        norm_reward=False,
        clip_obs=trained.clip_obs,
        epsilon=trained.epsilon,
        norm_obs_keys=trained.norm_obs_keys,
    )
    frozen.obs_rms = copy.deepcopy(trained.obs_rms)
    return frozen


def _check_normalization(
    given: VecNormalize | None, trained: VecNormalize | None, expected: bool | None
) -> None:
    """Raise ValueError if the agent would see observations unlike those of training.

    Args:
        given: of the environments of the evaluation.
        trained: of the agent's own environments.
        expected: whether the agent has to see normalized observations; None if that is unknown.
    """
    if given is trained and given is not None:
        return
    if expected and trained is None and given is None:
        raise ValueError(
            "the agent was trained in a VecNormalize, whose statistics are not in its file; pass "
            "VecNormalize.load(path, env)"
        )
    if given is None:
        return
    if expected is not None and expected != given.norm_obs:
        raise ValueError(
            f"the VecNormalize of env has norm_obs={given.norm_obs}, but the agent trains on "
            f"observations that {'one normalizes' if expected else 'none normalizes'}; pass env "
            "without it: an agent's own statistics are then used if it has any"
        )
    if given.norm_obs and not _is_fed(given) and (trained is None or _is_fed(trained)):
        raise ValueError(
            "the VecNormalize of env has seen no observation, so it does not normalize as in "
            "training; load it with VecNormalize.load, or copy the statistics with "
            "sync_envs_normalization(agent.get_env(), env)"
        )


def _is_fed(normalize: VecNormalize) -> bool:
    """Return whether it has seen the observations that it normalizes."""
    if not normalize.norm_obs:
        return True
    moments: Any = normalize.obs_rms
    parts = moments.values() if isinstance(moments, dict) else (moments,)
    return all(part.count >= FED for part in parts)
