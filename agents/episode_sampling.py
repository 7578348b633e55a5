"""Plays fresh episodes of a policy or a controller in several copies of an environment at once."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.evaluation_result import EvaluationResult
from agents.repair_count import RepairCount, RepairedShare
from agents.repair_head import RepairHead, head_in
from agents.rollout import check_observations, checked_signals
from agents.training_env import Contract, step_of
from safe_envs.contract.episode_totals import Episode, EpisodeTotals

LONGEST_EPISODE = 100_000  # [steps] longer ones are taken not to end

Memory = tuple[np.ndarray, ...] | None


@runtime_checkable
class Predictor(Protocol):
    """What acts: an agent of Stable-Baselines3, or anything with its `predict`."""

    def predict(
        self,
        observation: Any,
        state: Memory = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Memory]:
        """Return actions (N, ...) for N observations, and the memory to pass to the next call."""


class _Played(NamedTuple):
    """One episode of an evaluation, and what its last info says."""

    episode: Episode
    truncated: bool
    success: bool | None


def sample_episodes(
    model: Predictor,
    venv: VecEnv,
    contract: Contract,
    episodes: int,
    *,
    seed: int,
    first_env_seed: int,
    deterministic: bool,
    max_episode_steps: int = LONGEST_EPISODE,
) -> EvaluationResult:
    """Return fresh episodes.

    Which episodes count is decided before the first step: copy i contributes its first
    `quota[i]` episodes. Taking whichever end first would favor short ones.

    Args:
        model: what acts; the memory that its `predict` returns is passed to the next call.
        venv: copies of the environment; all play equal numbers of episodes, up to one.
        contract: the constraints and the discounts to sum with.
        episodes: at least one.
        seed: for the result; the policy draws from the generators in `own_random_numbers`.
        first_env_seed: of the first copy; the others have the following ones.
        deterministic: take the most likely action, or the Gaussian's mean.
        max_episode_steps: of the longest episode.

    Raises:
        RuntimeError: if an episode lasts longer.
        CostSignalError: at a step whose cost breaks the contract.
        NonFiniteEnvError: at a step whose reward or observation is not finite.
        TypeError, ValueError: if `predict` does not return one action per copy and a memory.
    """
    with head_in(model, venv) as head:
        played, repairs = _play(
            model, venv, contract, episodes, first_env_seed, deterministic, max_episode_steps, head
        )
    return _result(played, contract, seed, deterministic, repairs)


def _play(
    model: Predictor,
    venv: VecEnv,
    contract: Contract,
    episodes: int,
    first_env_seed: int,
    deterministic: bool,
    max_episode_steps: int,
    head: RepairHead | None,
) -> tuple[list[_Played], RepairedShare | None]:
    """Play the episodes; also return what the policy's head, if it has one, did meanwhile."""
    copies = venv.num_envs
    missing = np.full(copies, episodes // copies) + (np.arange(copies) < episodes % copies)
    discounts = [constraint.discount for constraint in contract.constraints]
    totals = EpisodeTotals(copies, contract.reward_discount, discounts)
    played: list[list[_Played]] = [[] for _ in range(copies)]
    began = np.zeros(copies, dtype=np.int64)  # steps before those of the episodes in progress
    uses_masks = _uses_masks(model, venv)
    venv.seed(first_env_seed)
    observations: Any = venv.reset()
    _check_finite(observations, "the reset of the evaluation")
    starts = np.ones(copies, dtype=np.bool_)  # every copy starts an episode
    memory: Memory = None
    repairs = RepairCount()
    for step in count(1):
        masks = {"action_masks": _masks(venv)} if uses_masks else {}
        predicted = model.predict(
            observations,
            state=memory,
            episode_start=starts,
            deterministic=deterministic,
            **masks,
        )
        actions, memory = _checked_prediction(predicted, venv)
        observations, _, rewards, dones, infos, stepped = step_of(venv, actions)
        if head is not None:
            repairs.add(head.entries, stepped)
        starts = dones | ~stepped
        began[~stepped] = step
        where = f"step {step} of the evaluation"
        _check_finite(observations, where)
        signals = checked_signals(rewards, infos, len(discounts), where)
        for row, episode in totals.add(signals, dones, stepped):
            began[row] = step
            if missing[row]:
                missing[row] -= 1
                played[row].append(_played(episode, infos[row]))
        if not missing.any():
            break
        if step >= max_episode_steps:
            _check_lasted(step - began, missing, max_episode_steps)
    return [one for done in played for one in done], repairs.share()


@contextmanager
def own_random_numbers(model: object, seed: int) -> Iterator[None]:
    """Draw inside from generators with this seed, and leave them as they were before.

    They are those of PyTorch (processor and graphics cards), of NumPy, of Python, and of the
    action space that an agent of Stable-Baselines3 explores with.

    Args:
        model: what acts.
        seed: of all.
    """
    cards = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    spaces = (
        [model.action_space.np_random.bit_generator] if isinstance(model, BaseAlgorithm) else []
    )
    states = [space.state for space in spaces]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=cards):
        # torch.manual_seed would also seed cards that are not in use yet.
        torch.default_generator.manual_seed(seed)
        for card in cards:
            torch.cuda.default_generators[card].manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        for space in spaces:
            space.state = np.random.PCG64(seed).state
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            for space, state in zip(spaces, states, strict=True):
                space.state = state


def _uses_masks(model: Predictor, venv: VecEnv) -> bool:
    """Return whether both the policy and the environment know of invalid actions.

    As sb3-contrib's MaskablePPO, which would choose invalid ones without the masks.
    """
    takes = "action_masks" in inspect.signature(model.predict).parameters
    return takes and venv.has_attr("action_masks")


def _masks(venv: VecEnv) -> np.ndarray:
    return np.stack(venv.env_method("action_masks"))


def _checked_prediction(predicted: Any, venv: VecEnv) -> tuple[np.ndarray, Memory]:
    """Return actions (N, ...) and memory if that is what it is."""
    if not isinstance(predicted, tuple) or len(predicted) != 2:
        raise TypeError(
            f"predict returned a {type(predicted).__name__}; it has to return two values: the "
            "actions, and the memory for the next call (None if there is none)"
        )
    actions, memory = predicted
    wanted = (venv.num_envs, *(venv.action_space.shape or ()))
    if np.shape(actions) != wanted:
        raise ValueError(
            f"predict returned actions of shape {np.shape(actions)} for {venv.num_envs} "
            f"observations; it has to return one action per observation, shape {wanted}"
        )
    return actions, memory


def _check_finite(observations: Any, where: str) -> None:
    if not isinstance(observations, tuple):  # which only agents of other libraries take
        check_observations(observations, where)


def _played(episode: Episode, info: Mapping[str, Any]) -> _Played:
    truncated = bool(info.get("TimeLimit.truncated", False))
    success = info.get("is_success")
    return _Played(episode, truncated, None if success is None else bool(success))


def _check_lasted(lasted: np.ndarray, missing: np.ndarray, most: int) -> None:
    for row in np.flatnonzero((lasted >= most) & (missing > 0)).tolist():
        raise RuntimeError(
            f"environment {row}: an episode has not ended after {most} steps; give the "
            "environment a time limit, gym.make(id, max_episode_steps=...), or pass a larger "
            "max_episode_steps to the evaluation"
        )


def _result(
    kept: list[_Played],
    contract: Contract,
    seed: int,
    deterministic: bool,
    repairs: RepairedShare | None,
) -> EvaluationResult:
    episodes = [one.episode for one in kept]
    sums = np.array([(episode.value, *episode.costs) for episode in episodes])
    plain = np.array([(episode.plain_value, *episode.plain_costs) for episode in episodes])
    successes = [one.success for one in kept]
    return EvaluationResult(
        constraints=contract.constraints,
        reward_discount=contract.reward_discount,
        seed=seed,
        deterministic=deterministic,
        returns=sums[:, 0],
        costs=sums[:, 1:],
        plain_returns=plain[:, 0],
        plain_costs=plain[:, 1:],
        lengths=np.array([episode.length for episode in episodes]),
        truncated=np.array([one.truncated for one in kept]),
        successes=None if None in successes else np.array(successes),
        repairs=repairs,
    )
