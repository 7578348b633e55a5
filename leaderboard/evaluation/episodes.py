"""Plays episodes of a policy from given seeds; each depends only on its own seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import Space, spaces
from scipy.special import expit

from leaderboard.boards.board import Board
from leaderboard.policy_files.gate import CHOICES, check_actions
from leaderboard.scores.scored_episodes import EpisodeSums
from safe_envs.contract.cost_signal import ConstraintSpec, declared_constraints
from safe_envs.contract.episode_totals import Episode, EpisodeTotals

ACTION_STREAM = 1  # of an episode's seed; the environment uses the seed itself
ROUNDING = 1e-12  # of a limit, relative
LARGEST_LOG_STD = 20.0  # beyond the log of the range: every draw is at a bound anyway


Action = np.ndarray | np.int64


class Policy(Protocol):
    """Maps observations to the outputs of a policy file."""

    def outputs(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """Return each output, (rows, width), for observations (rows, n) float32."""


class BoardMismatchError(RuntimeError):
    """The installed environment is not the one that the board's numbers are for."""


class EpisodePlayer:
    """Plays a board's episodes, several at a time; a context manager."""

    def __init__(self, board: Board, copies: int) -> None:
        self._board = board
        self._envs = [gym.make(board.env, disable_env_checker=True) for _ in range(copies)]
        try:
            check_board(board, self._envs[0])
        except BoardMismatchError:
            self.close()
            raise

    def __enter__(self) -> EpisodePlayer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()

    def play(self, policy: Policy, stochastic: bool, seeds: Sequence[int]) -> list[EpisodeSums]:
        """Return the sums of one episode from each seed, at most as many as there are copies.

        Args:
            policy: chooses the actions in all of them.
            stochastic: draw its actions, with a generator seeded by the episode's seed.
            seeds: of the episodes.
        """
        constraints = self._board.constraints
        totals = EpisodeTotals(
            len(seeds), self._board.reward_discount, [each.discount for each in constraints]
        )
        signals = np.zeros((len(seeds), 1 + len(constraints)))  # 0 after the end of an episode
        ended = np.zeros(len(seeds), dtype=bool)
        envs = self._envs[: len(seeds)]
        key = "cost" if len(constraints) == 1 else "costs"
        runs = [
            _Run(row, env, seed, key)
            for row, (env, seed) in enumerate(zip(envs, seeds, strict=True))
        ]
        running, found = runs, {}
        while running:
            chosen = self._actions(policy, stochastic, running)
            signals[:], ended[:] = 0.0, False
            for run, action in zip(running, chosen, strict=True):
                signals[run.row], ended[run.row] = run.step(action)
            found.update({row: _sums(episode) for row, episode in totals.add(signals, ended)})
            running = [run for run in running if not ended[run.row]]
        return [found[run.row] for run in runs]

    def _actions(self, policy: Policy, stochastic: bool, running: list[_Run]) -> list[Action]:
        """Return the policy's action for each of some episodes."""
        observations = np.array([run.observation for run in running], dtype=np.float32)
        generators = [run.generator for run in running]
        space = self._envs[0].action_space
        return actions_of(policy.outputs(observations), space, stochastic, generators)


class _Run:
    """An episode that is being played.

    Args:
        row: its index among the episodes played together.
        env: used by this episode only.
        seed: of the episode.
        cost_key: key of the costs in the environment's infos.
    """

    def __init__(self, row: int, env: gym.Env, seed: int, cost_key: str) -> None:
        self.row = row
        self.generator = np.random.default_rng([seed, ACTION_STREAM])
        self._env = env
        self._key = cost_key
        observation, _ = env.reset(seed=seed)
        self.observation = spaces.flatten(env.observation_space, observation)

    def step(self, action: Action) -> tuple[np.ndarray, bool]:
        """Return reward and costs, (1 + m,), and whether the episode is over."""
        observation, reward, terminated, truncated, info = self._env.step(action)
        self.observation = spaces.flatten(self._env.observation_space, observation)
        signals = np.concatenate(([float(reward)], np.atleast_1d(info[self._key])))
        return signals, bool(terminated or truncated)


def _same_constraints(found: Sequence[ConstraintSpec], frozen: Sequence[ConstraintSpec]) -> bool:
    """Return whether constraints are the same but for how processors round a computed limit."""
    return len(found) == len(frozen) and all(
        (one.name, one.discount) == (other.name, other.discount)
        and math.isclose(one.limit, other.limit, rel_tol=ROUNDING)
        for one, other in zip(found, frozen, strict=True)
    )


def _sums(episode: Episode) -> EpisodeSums:
    return EpisodeSums(
        total_return=episode.value,
        costs=tuple(episode.costs.tolist()),
        plain_return=episode.plain_value,
        plain_costs=tuple(episode.plain_costs.tolist()),
        length=episode.length,
    )


def check_board(board: Board, env: gym.Env) -> None:
    """Raise BoardMismatchError unless the environment declares the board's numbers.

    Raises:
        BoardMismatchError: naming what differs.
    """
    found: dict[str, Any] = {
        "constraints": declared_constraints(env),
        "reward_discount": float(env.unwrapped.reward_discount),  # type: ignore[attr-defined]
    }
    frozen = {"constraints": board.constraints, "reward_discount": board.reward_discount}
    same = {
        "constraints": _same_constraints(found["constraints"], board.constraints),
        "reward_discount": found["reward_discount"] == board.reward_discount,
    }
    for name, value in found.items():
        if not same[name]:
            raise BoardMismatchError(
                f"{board.env} declares {name} {value} but version {board.version} of its board has "
                f"{frozen[name]}; install the matching release of safe-envs"
            )


def actions_of(
    outputs: dict[str, np.ndarray],
    space: Space,
    stochastic: bool,
    generators: Sequence[np.random.Generator],
) -> list[Action]:
    """Return one action per row.

    A stochastic policy draws a Discrete action a with probability softmax(logits)_a, the numbers of
    a MultiDiscrete action alike, those of a MultiBinary one with probability sigmoid(logits), and a
    Box action from Normal(mean, exp(log_std)^2). A deterministic one uses the file's action if
    there is one, else the most likely one or the mean. Box actions of integers are rounded; all are
    clipped to their space.

    Args:
        outputs: of the policy, each (rows, width).
        space: of the environment's actions.
        stochastic: draw the actions.
        generators: one per row, so that an episode's draws do not depend on other episodes.

    Raises:
        PolicyFailed: if the number of a choice is out of range.
        TypeError: for any other action space.
    """
    if isinstance(space, spaces.Box):
        rows = _gaussian(outputs, space, generators) if stochastic else _deterministic_box(outputs)
        return [_within(row, space) for row in rows]
    if not isinstance(space, CHOICES):
        raise TypeError(
            f"actions are {space}; policy files support Box, Discrete, MultiDiscrete and "
            "MultiBinary actions"
        )
    check_actions(outputs, space)
    if not stochastic and "action" in outputs:
        chosen = outputs["action"]
    elif isinstance(space, spaces.MultiBinary):
        chosen = _binary(outputs["logits"], stochastic, generators)
    else:
        sizes = [space.n] if isinstance(space, spaces.Discrete) else space.nvec.ravel()
        each = np.split(outputs["logits"].astype(np.float64), np.cumsum(sizes)[:-1], axis=1)
        chosen = np.stack([_choice(logits, stochastic, generators) for logits in each], axis=1)
    if isinstance(space, spaces.Discrete):
        return [np.int64(space.start + row[0]) for row in chosen]
    start = space.start if isinstance(space, spaces.MultiDiscrete) else 0
    return [(row.reshape(space.shape) + start).astype(space.dtype) for row in chosen]


def _choice(
    logits: np.ndarray, stochastic: bool, generators: Sequence[np.random.Generator]
) -> np.ndarray:
    """Return one choice per row of logits (rows, n)."""
    if not stochastic:
        return logits.argmax(axis=1)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True)).cumsum(axis=1)
    drawn = np.array([generator.random() for generator in generators]) * weights[:, -1]
    return (weights <= drawn[:, None]).sum(axis=1)


def _binary(
    logits: np.ndarray, stochastic: bool, generators: Sequence[np.random.Generator]
) -> np.ndarray:
    """Return 0 or 1 for each of the logits (rows, k)."""
    if not stochastic:
        return (logits > 0.0).astype(np.int64)
    drawn = np.array([generator.random(logits.shape[1]) for generator in generators])
    return (drawn < expit(logits.astype(np.float64))).astype(np.int64)


def _gaussian(
    outputs: Mapping[str, np.ndarray],
    space: spaces.Box,
    generators: Sequence[np.random.Generator],
) -> np.ndarray:
    mean = outputs["mean"].astype(np.float64)  # (rows, k)
    with np.errstate(over="ignore"):
        width = np.ravel(space.high.astype(np.float64) - space.low.astype(np.float64))
    largest = LARGEST_LOG_STD + np.log(np.where(np.isfinite(width), np.maximum(width, 1.0), 1.0))
    deviation = np.exp(np.minimum(outputs["log_std"].astype(np.float64), largest))
    noise = np.array([generator.standard_normal(mean.shape[1]) for generator in generators])
    return mean + deviation * noise


def _deterministic_box(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return outputs["action"] if "action" in outputs else outputs["mean"]


def _within(row: np.ndarray, space: spaces.Box) -> np.ndarray:
    if np.issubdtype(space.dtype, np.integer):
        row = np.rint(row)
    return np.clip(row.reshape(space.shape), space.low, space.high).astype(space.dtype)
