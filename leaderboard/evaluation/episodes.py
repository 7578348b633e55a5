"""Plays episodes of a policy from given seeds; each depends on its own seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from leaderboard.boards.board import Board
from leaderboard.evaluation.acting import actions_of
from safe_envs.contract.cost_signal import declared_constraints

ACTION_STREAM = 1  # of an episode's seed; stream 0 is the environment's own


class Policy(Protocol):
    """Answers observations with the outputs of a policy file."""

    def outputs(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """Return each output, (rows, width), for observations (rows, n) float32."""


@dataclass(frozen=True)
class EpisodeSums:
    """What an episode came to."""

    total_return: float  # discounted as the environment declares
    costs: tuple[float, ...]  # (m,)
    plain_return: float  # undiscounted
    plain_costs: tuple[float, ...]  # (m,)
    length: int  # [steps]


class BoardMismatchError(RuntimeError):
    """The installed environment is not the one the board's numbers are frozen for."""


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
            policy: acts in all of them.
            stochastic: draw its actions, with a generator that follows from the episode's seed.
            seeds: of the episodes.
        """
        runs = [
            _Run(env, seed, self._board)
            for env, seed in zip(self._envs[: len(seeds)], seeds, strict=True)
        ]
        running = runs
        while running:
            observations = np.array([run.observation for run in running], dtype=np.float32)
            space = running[0].env.action_space
            generators = [run.generator for run in running]
            chosen = actions_of(policy.outputs(observations), space, stochastic, generators)
            for run, action in zip(running, chosen, strict=True):
                run.step(action)
            running = [run for run in running if not run.over]
        return [run.sums() for run in runs]


class _Run:
    """One episode on its way."""

    def __init__(self, env: gym.Env, seed: int, board: Board) -> None:
        self.env = env
        self.generator = np.random.default_rng([seed, ACTION_STREAM])
        self.over = False
        m = len(board.constraints)
        self._key = "cost" if m == 1 else "costs"
        self._discounts = np.array(
            [board.reward_discount, *(c.discount for c in board.constraints)]
        )
        self._factors = np.ones(1 + m)
        self._sums, self._plain = np.zeros(1 + m), np.zeros(1 + m)
        self._length = 0
        observation, _ = env.reset(seed=seed)
        self.observation = spaces.flatten(env.observation_space, observation)

    def step(self, action: np.ndarray | np.int64) -> None:
        observation, reward, terminated, truncated, info = self.env.step(action)
        signals = np.concatenate(([float(reward)], np.atleast_1d(info[self._key])))
        self._sums += self._factors * signals
        self._plain += signals
        self._factors *= self._discounts
        self._length += 1
        self.over = bool(terminated or truncated)
        self.observation = spaces.flatten(self.env.observation_space, observation)

    def sums(self) -> EpisodeSums:
        total, *costs = self._sums.tolist()
        plain, *plain_costs = self._plain.tolist()
        return EpisodeSums(total, tuple(costs), plain, tuple(plain_costs), self._length)


def check_board(board: Board, env: gym.Env) -> None:
    """Raise unless the environment declares what the board was frozen with.

    Raises:
        BoardMismatchError: with what differs.
    """
    found = {
        "constraints": declared_constraints(env),
        "reward_discount": float(env.unwrapped.reward_discount),  # type: ignore[attr-defined]
    }
    frozen = {"constraints": board.constraints, "reward_discount": board.reward_discount}
    for name, value in found.items():
        if value != frozen[name]:
            raise BoardMismatchError(
                f"{board.env} declares {name} {value} but its board, version {board.version}, was "
                f"frozen with {frozen[name]}; install the release of safe-envs that fits"
            )
