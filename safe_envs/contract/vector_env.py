"""Many copies of one environment held as arrays: autoreset, time limit, masks and costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from safe_envs.contract.action_checks import batch_check
from safe_envs.contract.argument_checks import check_count
from safe_envs.contract.cost_signal import ONLY_RESET, cost_space_of
from safe_envs.contract.dynamics import BatchDynamics, check_observations_are_arrays

try:
    from gymnasium.vector import AutoresetMode
except ImportError:  # Gymnasium < 1.1 has neither autoreset modes nor a compatible vector API
    AutoresetMode = None  # type: ignore[assignment,misc]

NO_ROWS = np.empty(0, dtype=np.intp)


class NativeVectorEnv(VectorEnv):
    """A batch of environments stepped together; equal to the single form step by step.

    `info["cost"]` is the (N,) cost of the step just taken, including terminal steps, in every
    autoreset mode. For rows that were only reset, the mask `_cost` is False, and the mask
    `_only_reset`, which no other step has, is True. With SAME_STEP, the last observation and infos
    of ended episodes are also in "final_obs" and "final_info".

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

    dynamics: BatchDynamics
    _made = False  # Gymnasium closes even environments whose __init__ failed

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
        check_count(num_envs=num_envs)
        if max_episode_steps is not None:
            check_count(max_episode_steps=max_episode_steps)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}; pass None or 'rgb_array'")
        self._check = batch_check(dynamics.single_action_space, num_envs)
        check_observations_are_arrays(dynamics.single_observation_space)
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": dynamics.render_fps,
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
        self.dynamics = dynamics
        limit = np.iinfo(np.int64).max if max_episode_steps is None else max_episode_steps
        self._time_limit = np.full(num_envs, limit, dtype=np.int64)
        self._one_each = np.ones(num_envs, dtype=np.int64)
        self._all_rows = np.ones(num_envs, dtype=np.bool_)
        self._all_rows.setflags(write=False)
        self._ended = np.zeros(num_envs, dtype=np.bool_)
        self._states: np.ndarray | None = None
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._episode_cost = np.zeros(num_envs)
        self._made = True

    def current_states(self, purpose: str) -> np.ndarray:
        """Return the states; before the first reset, raise ResetNeeded with the purpose."""
        if self._states is None:
            raise gym.error.ResetNeeded(f"call reset() before {purpose}")
        return self._states

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes, in all rows or in those of `options["reset_mask"]` (N,) bool.

        `options={"state": states}` starts them in the given states, one for each row reset. All
        rows share one generator, so `seed` is a single whole number.
        """
        if isinstance(seed, list):
            raise ValueError("a native vector environment takes one seed, not a list; pass an int")
        super().reset(seed=seed)
        options = options or {}
        rows = rows_to_reset(options.get("reset_mask"), self.num_envs, self._states is None)
        self._start(rows, options.get("state"))
        assert self._states is not None
        self._ended[rows] = False
        costs = np.zeros((self.num_envs, len(self.constraints)))
        margins = self.dynamics.margins(self._states)
        details = self.dynamics.start_details(self._states)
        info = self._info(costs.sum(axis=1), costs, margins, details, self._all_rows)
        return self.dynamics.observe(self._states), info

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all rows; the autoreset mode determines what happens to ended rows."""
        states = self.current_states("step()")
        actions = self._check(actions)
        ended = np.flatnonzero(self._ended) if np.count_nonzero(self._ended) else NO_ROWS
        if len(ended) and self.autoreset_mode != AutoresetMode.NEXT_STEP:
            raise gym.error.ResetNeeded(
                f"episodes of rows {ended.tolist()} have ended; call "
                "reset(options={'reset_mask': mask})"
            )
        noise = self._noise_of_running_rows(len(ended))
        result = self.dynamics.step(states, actions, noise)
        self._states, reward, costs, terminated, margins, details = result
        cost = costs[:, 0].copy() if costs.shape[1] == 1 else costs.sum(axis=1)
        stepped = self._all_rows
        if len(ended):
            stepped = ~self._ended
            self._start(ended)
            reward[ended] = cost[ended] = costs[ended] = 0.0
            terminated[ended] = False
            if margins is not None:
                margins[ended] = self.dynamics.margins(self._states[ended])
            if details is not None:
                started = self.dynamics.start_details(self._states[ended]) or {}
                for name, values in details.items():
                    values[ended] = started[name]
        # In place, these additions would take three times as long for a few rows.
        self._steps = self._steps + self._one_each
        if len(ended):
            self._steps[ended] = 0
        self._episode_cost = self._episode_cost + cost
        truncated = self._steps >= self._time_limit
        info = self._info(cost, costs, margins, details, stepped)
        if len(ended):
            info[f"_{ONLY_RESET}"] = self._ended
        self._ended = terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._finish(np.flatnonzero(self._ended), info)
        return self.dynamics.observe(self._states), reward, terminated, truncated, info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one frame per row."""
        if self.render_mode is None or self._states is None:
            gym.logger.warn("nothing to render: pass render_mode='rgb_array', then call reset()")
            return None
        return tuple(self.dynamics.frame(state) for state in self._states)

    def close_extras(self, **kwargs: Any) -> None:
        """Free the resources of the dynamics."""
        if self._made:
            self.dynamics.close()

    def _noise_of_running_rows(self, ended: int) -> np.ndarray:
        """Draw for running rows only, so that a reset does not change the other rows' noise."""
        drawn = self.dynamics.noise(self.np_random, self.num_envs - ended)
        if not ended:
            return drawn
        noise = np.zeros((self.num_envs, *drawn.shape[1:]))
        noise[~self._ended] = drawn
        return noise

    def _start(self, rows: np.ndarray, given: Any = None) -> None:
        """Start new episodes in the given rows, from given or drawn states."""
        if given is None:
            fresh = self.dynamics.initial_states(self.np_random, len(rows))
        else:
            fresh = self.dynamics.checked_states(given, len(rows))
        if self._states is None:
            self._states = fresh
        else:
            self._states[rows] = fresh
        self._steps[rows] = 0
        self._episode_cost[rows] = 0.0

    def _finish(self, rows: np.ndarray, info: dict[str, Any]) -> None:
        """Keep the last observation and infos of the ended rows, then restart these rows."""
        if len(rows) == 0:
            return
        assert self._states is not None
        last = self.dynamics.observe(self._states[rows])
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
        self,
        cost: np.ndarray,
        costs: np.ndarray,
        margins: np.ndarray | None,
        details: Mapping[str, np.ndarray] | None,
        rows: np.ndarray,
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
        if details is not None:
            for name, values in details.items():
                info[name], info[f"_{name}"] = values, rows
        return info


def rows_to_reset(mask: Any, num_envs: int, is_first: bool) -> np.ndarray:
    """Return the numbers of the rows that `options["reset_mask"]` selects; all without a mask.

    Raises:
        ValueError: if the mask is not a bool array (num_envs,) with at least one True.
        gym.error.ResetNeeded: if the very first reset leaves out rows.
    """
    if mask is None:
        return np.arange(num_envs)
    rows = np.asarray(mask)
    if rows.shape != (num_envs,) or rows.dtype != np.bool_ or not rows.any():
        raise ValueError(
            f"reset_mask has shape {rows.shape} and type {rows.dtype}; pass a bool array of "
            f"shape ({num_envs},) with at least one True"
        )
    if is_first and not rows.all():
        raise gym.error.ResetNeeded("the first reset has to reset all rows, without a mask")
    return np.flatnonzero(rows)
