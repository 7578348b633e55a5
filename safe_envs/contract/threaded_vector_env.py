"""Copies of an environment that are stepped in threads of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from safe_envs.contract.cost_signal import declared_constraints
from safe_envs.contract.thread_count import usual_num_threads
from safe_envs.contract.vector_env import AutoresetMode, rows_to_reset


class RowError(RuntimeError):
    """An environment of a threaded vector environment raised an exception, which is the cause."""


class RowStep(NamedTuple):
    """The result of one environment's step; `final` holds the end of its episode, if any."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    final: dict[str, Any]


class ThreadedVectorEnv(VectorEnv):
    """N environments in threads; equal, row by row, to `gymnasium.vector.SyncVectorEnv`.

    MuJoCo releases Python's global lock; everything else holds it. Physics is only part of a step:
    a quarter for SafetyPointGoal1-v0, half for SafetyDoggoPush1-v0, two thirds for
    SafetyAntVelocity-v1. On two free cores their 8 rows took 1.1, 0.8 and 0.65 times as long as in
    `SyncVectorEnv`, and on busy cores the same time. So this form is for legged robots and machines
    with free cores, and `gymnasium.make_vec` does not use it.

    Each environment is made, stepped, drawn and closed by the same thread, as OpenGL requires.
    `safe_envs.read_costs` finds the costs of terminal steps in every autoreset mode.

        make = functools.partial(gymnasium.make, "SafetyDoggoPush1-v0")
        venv = ThreadedVectorEnv([make] * 8, autoreset_mode="SameStep")

    Args:
        env_fns: functions that each make an environment; all must have the same spaces.
        num_threads: largest number of threads; None for one per processor. Never more than N.
        autoreset_mode: an `AutoresetMode` or its value: "NextStep", "SameStep" or "Disabled".

    Raises:
        ValueError: if there are no environments or threads, or the spaces differ.
        RowError: if an environment cannot be made.
        RuntimeError: on Gymnasium releases without autoreset modes (before 1.1).
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env]],
        num_threads: int | None = None,
        autoreset_mode: Any = "NextStep",
    ) -> None:
        if AutoresetMode is None:
            raise RuntimeError(
                f"threaded vector environments need gymnasium >= 1.1, this is {gym.__version__}; "
                "use gymnasium.vector.SyncVectorEnv or upgrade: pip install -U gymnasium"
            )
        if not env_fns:
            raise ValueError(
                "env_fns is empty; pass at least one function that makes an environment"
            )
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}; pass a whole number >= 1 or None")
        self.num_envs = len(env_fns)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        threads = min(num_threads or usual_num_threads(), self.num_envs)
        self._threads = [ThreadPoolExecutor(1, "environments") for _ in range(threads)]
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        self._observations: list[Any] | None = None  # None: to be reset before a step
        try:
            self.envs: list[gym.Env] = self._in_threads("making", env_fns, range(self.num_envs))
            self._take_spaces()
        except BaseException:
            self._end_threads()
            raise

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes, in all rows or in those of `options["reset_mask"]` (N,) bool.

        Row i gets the seed `seed + i`, or the i-th of a list.
        """
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(
                f"{len(seeds)} seeds were given for {self.num_envs} environments; pass one each, a "
                "single whole number, or None"
            )
        own = dict(options or {})
        mask = own.pop("reset_mask", None)
        rows = rows_to_reset(mask, self.num_envs, self._observations is None).tolist()
        given = seeds or [None] * self.num_envs
        kept, self._observations = self._observations, None
        results = self._in_threads(
            "resetting",
            [partial(self.envs[i].reset, seed=given[i], options=own or None) for i in rows],
            rows,
        )
        observations = kept or [None] * self.num_envs
        infos: dict[str, Any] = {}
        for row, (observation, info) in zip(rows, results, strict=True):
            observations[row] = observation
            infos = self._add_info(infos, info, row)
        self._ended[rows] = False
        self._observations = observations
        return self._batched(observations), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all rows; the autoreset mode determines what happens to ended rows."""
        if self._observations is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        if self._ended.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"episodes of rows {np.flatnonzero(self._ended).tolist()} have ended; call "
                "reset(options={'reset_mask': mask})"
            )
        each = list(iterate(self.action_space, actions))
        if len(each) != self.num_envs:
            raise ValueError(f"{len(each)} actions for {self.num_envs} environments; pass one each")
        self._observations = None
        rows = range(self.num_envs)
        results: list[RowStep] = self._in_threads(
            "stepping", [partial(self._step_row, i, each[i]) for i in rows], rows
        )
        infos: dict[str, Any] = {}
        for row, result in enumerate(results):
            if result.final:
                infos = self._add_info(infos, result.final, row)
            infos = self._add_info(infos, result.info, row)
        self._observations = [result.observation for result in results]
        reward = np.array([result.reward for result in results], dtype=np.float64)
        terminated = np.array([result.terminated for result in results], dtype=np.bool_)
        truncated = np.array([result.truncated for result in results], dtype=np.bool_)
        self._ended = terminated | truncated
        return self._batched(self._observations), reward, terminated, truncated, infos

    def render(self) -> tuple[Any, ...]:
        """Return the frame of each row."""
        rows = range(self.num_envs)
        return tuple(self._in_threads("drawing", [env.render for env in self.envs], rows))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments and end the threads."""
        try:
            self._in_threads("closing", [env.close for env in self.envs], range(self.num_envs))
        finally:
            self._end_threads()

    def _step_row(self, row: int, action: Any) -> RowStep:
        env = self.envs[row]
        if self._ended[row] and self.autoreset_mode == AutoresetMode.NEXT_STEP:
            observation, info = env.reset()
            return RowStep(observation, 0.0, False, False, info, {})
        observation, reward, terminated, truncated, info = env.step(action)
        final: dict[str, Any] = {}
        if (terminated or truncated) and self.autoreset_mode == AutoresetMode.SAME_STEP:
            final = {"final_obs": observation, "final_info": info}
            observation, info = env.reset()
        return RowStep(observation, float(reward), terminated, truncated, info, final)

    def _in_threads(
        self, doing: str, calls: Sequence[Callable[[], Any]], rows: Sequence[int]
    ) -> list[Any]:
        """Return the calls' results, each from its row's thread, after all have ended."""
        threads = self._threads
        futures: list[Future[Any]] = [
            threads[row % len(threads)].submit(call) for row, call in zip(rows, calls, strict=True)
        ]
        errors = [future.exception() for future in futures]
        for row, error in zip(rows, errors, strict=True):
            if error is not None:
                raise RowError(
                    f"{doing} environment {row} of {self.num_envs} failed with "
                    f"{type(error).__name__}: {error}; call reset() before the next step"
                ) from error
        return [future.result() for future in futures]

    def _take_spaces(self) -> None:
        first = self.envs[0]
        for row, env in enumerate(self.envs):
            given = (env.observation_space, env.action_space)
            if given != (first.observation_space, first.action_space):
                raise ValueError(
                    f"environment {row} has the observation and action spaces {given}, unlike "
                    "environment 0; pass functions that make environments with equal spaces"
                )
        self.metadata = {**first.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)
        constrained: Any = first.unwrapped
        self.constraints = declared_constraints(first)
        self.reward_discount: float = constrained.reward_discount
        self.cost_space: gym.Space = constrained.cost_space

    def _batched(self, observations: list[Any]) -> Any:
        space = self.single_observation_space
        batch: Any = create_empty_array(space, n=self.num_envs, fn=np.zeros)
        return concatenate(space, observations, batch)

    def _end_threads(self) -> None:
        for thread in self._threads:
            thread.shutdown()
