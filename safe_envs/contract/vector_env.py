"""Many copies of one environment held as arrays: autoreset, time limit, masks and costs."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from safe_envs.contract.action_checks import checked_batch
from safe_envs.contract.cost_signal import ConstraintSpec, cost_space_of

try:
    from gymnasium.vector import AutoresetMode
except ImportError:  # Gymnasium < 1.1 has no autoreset modes, nor a vector API these could keep
    AutoresetMode = None  # type: ignore[assignment,misc]


class BatchStep(NamedTuple):
    """One step of n environments."""

    states: np.ndarray  # (n, ...)
    reward: np.ndarray  # (n,)
    costs: np.ndarray  # (n, m), every entry >= 0
    terminated: np.ndarray  # (n,) bool
    margins: np.ndarray | None = None  # (n, k) signed margins, <= 0 if satisfied


class BatchDynamics(Protocol):
    """A problem on arrays of states; the states' first axis counts environments."""

    constraints: tuple[ConstraintSpec, ...]
    reward_discount: float
    cost_high: np.ndarray  # (m,) largest cost of one step
    single_observation_space: gym.Space
    single_action_space: gym.Space

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` first states."""
        ...

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return `count` states given by the user, or raise ValueError."""
        ...

    def draws(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the random numbers that one step of `count` environments consumes, (count, ...)."""
        ...

    def step(self, states: np.ndarray, actions: np.ndarray, draws: np.ndarray) -> BatchStep:
        """Return one step of all states, in fresh arrays; no randomness but `draws`."""
        ...

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return observations that share no memory with the states."""
        ...

    def margins(self, states: np.ndarray) -> np.ndarray | None:
        """Return the (n, k) signed margins of states just reset, None if there are none."""
        ...

    def draw(self, state: Any) -> np.ndarray:
        """Return the frame of one state, (height, width, 3) uint8."""
        ...


class NativeVectorEnv(VectorEnv):
    """A batch of environments stepped together; equal to the single form step by step.

    `info["cost"]` is the (N,) cost of the step just taken, terminal steps included, in every
    autoreset mode; rows that were only reset have the mask `_cost` False. Under SAME_STEP the
    last observation and infos of ended episodes are also in "final_obs" and "final_info".

    Args:
        dynamics: the problem.
        num_envs: number of copies N.
        max_episode_steps: steps after which an episode is truncated; None for no limit.
        autoreset_mode: an `AutoresetMode` or its value: "NextStep", "SameStep" or "Disabled".
        render_mode: None or "rgb_array"; `render` then returns a tuple of N frames.

    Raises:
        ValueError: if an argument is out of its range.
        RuntimeError: on Gymnasium releases without autoreset modes (before 1.1).
    """

    def __init__(
        self,
        dynamics: BatchDynamics,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: Any = "NextStep",
        render_mode: str | None = None,
    ) -> None:
        if AutoresetMode is None:
            raise RuntimeError(
                f"native vector environments need gymnasium >= 1.1, this is {gym.__version__}; "
                "use gymnasium.vector.SyncVectorEnv or upgrade: pip install -U gymnasium"
            )
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; pass a whole number >= 1")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps is {max_episode_steps}; pass a number >= 1")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; pass None or 'rgb_array'")
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": 30,
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self.constraints = dynamics.constraints
        self.reward_discount = dynamics.reward_discount
        self.cost_space = cost_space_of(dynamics.constraints, dynamics.cost_high)
        self.single_observation_space = dynamics.single_observation_space
        self.single_action_space = dynamics.single_action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._dynamics = dynamics
        self._limit = np.inf if max_episode_steps is None else max_episode_steps
        self._all_rows = np.ones(num_envs, dtype=np.bool_)
        self._all_rows.setflags(write=False)
        self._ended = np.zeros(num_envs, dtype=np.bool_)
        self._states: np.ndarray | None = None
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._episode_cost = np.zeros(num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes, in all rows or in those of `options["reset_mask"]` (N,) bool.

        `options={"state": states}` starts them in the given states, one per row reset. One
        generator serves all rows, so `seed` is one whole number.
        """
        if isinstance(seed, list):
            raise ValueError("a native vector environment takes one seed, not a list; pass an int")
        super().reset(seed=seed)
        options = options or {}
        rows = self._rows_to_reset(options.get("reset_mask"))
        if self._states is None and len(rows) < self.num_envs:
            raise gym.error.ResetNeeded("the first reset has to reset all rows, without a mask")
        self._start(rows, options.get("state"))
        assert self._states is not None
        self._ended[rows] = False
        costs = np.zeros((self.num_envs, len(self.constraints)))
        margins = self._dynamics.margins(self._states)
        info = self._info(costs.sum(axis=1), costs, margins, self._all_rows)
        return self._dynamics.observe(self._states), info

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance all rows; what happens to ended rows is the autoreset mode's to say."""
        if self._states is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        actions = checked_batch(actions, self.single_action_space, self.num_envs)
        ended = np.flatnonzero(self._ended)
        if len(ended) and self.autoreset_mode != AutoresetMode.NEXT_STEP:
            raise gym.error.ResetNeeded(
                f"episodes of rows {ended.tolist()} have ended; call "
                "reset(options={'reset_mask': mask})"
            )
        draws = self._draws_of_running_rows(len(ended))
        result = self._dynamics.step(self._states, actions, draws)
        self._states, reward, costs, terminated, margins = result
        cost = costs[:, 0].copy() if costs.shape[1] == 1 else costs.sum(axis=1)
        stepped = self._all_rows
        if len(ended):
            stepped = ~self._ended
            self._start(ended)
            reward[ended] = cost[ended] = costs[ended] = 0.0
            terminated[ended] = False
            if margins is not None:
                margins[ended] = self._dynamics.margins(self._states[ended])
        self._steps += stepped
        self._episode_cost += cost
        truncated = self._steps >= self._limit
        info = self._info(cost, costs, margins, stepped)
        self._ended = terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._finish(np.flatnonzero(self._ended), info)
        return self._dynamics.observe(self._states), reward, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one frame per row."""
        if self.render_mode is None or self._states is None:
            gym.logger.warn("nothing to render: pass render_mode='rgb_array', then call reset()")
            return None
        return tuple(self._dynamics.draw(state) for state in self._states)

    def _draws_of_running_rows(self, ended: int) -> np.ndarray:
        """Draw for the rows that really step, so that a row's reset does not shift the others."""
        drawn = self._dynamics.draws(self.np_random, self.num_envs - ended)
        if not ended:
            return drawn
        draws = np.zeros((self.num_envs, *drawn.shape[1:]))
        draws[~self._ended] = drawn
        return draws

    def _rows_to_reset(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.arange(self.num_envs)
        rows = np.asarray(mask)
        if rows.shape != (self.num_envs,) or rows.dtype != np.bool_ or not rows.any():
            raise ValueError(
                f"reset_mask has shape {rows.shape} and type {rows.dtype}; pass a bool array of "
                f"shape ({self.num_envs},) with at least one True"
            )
        return np.flatnonzero(rows)

    def _start(self, rows: np.ndarray, given: Any = None) -> None:
        """Start new episodes in the rows with these numbers, from given or drawn states."""
        if given is None:
            fresh = self._dynamics.initial_states(self.np_random, len(rows))
        else:
            fresh = self._dynamics.checked_states(given, len(rows))
        if self._states is None:
            self._states = fresh
        else:
            self._states[rows] = fresh
        self._steps[rows] = 0
        self._episode_cost[rows] = 0.0

    def _finish(self, rows: np.ndarray, info: dict[str, Any]) -> None:
        """Keep the last observation and infos of the ended rows, then start them anew."""
        if len(rows) == 0:
            return
        assert self._states is not None
        last = self._dynamics.observe(self._states[rows])
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row, observation in zip(rows, last, strict=True):
            final_obs[row] = observation
        final_info: dict[str, Any] = {}
        for key, values in info.items():
            if not key.startswith("_"):
                masked = np.zeros_like(values)
                masked[rows] = values[rows]
                final_info[key], final_info[f"_{key}"] = masked, self._ended.copy()
        info["final_obs"], info["_final_obs"] = final_obs, self._ended.copy()
        info["final_info"], info["_final_info"] = final_info, self._ended
        self._start(rows)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)

    def _info(
        self, cost: np.ndarray, costs: np.ndarray, margins: np.ndarray | None, rows: np.ndarray
    ) -> dict[str, Any]:
        info: dict[str, Any] = {
            "cost": cost,
            "_cost": rows,
            "episode_cost": self._episode_cost.copy(),
            "_episode_cost": rows,
        }
        if len(self.constraints) > 1:
            info["costs"], info["_costs"] = costs, rows
        if margins is not None:
            info["constraint_values"], info["_constraint_values"] = margins, rows
        return info
