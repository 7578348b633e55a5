"""A single environment from dynamics: seeding, reset options, costs, infos, time limit, frames."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import action_check, whole_actions
from safe_envs.contract.argument_checks import check_count
from safe_envs.contract.cost_signal import cost_space_of
from safe_envs.contract.dynamics import (
    BatchDynamics,
    OneRow,
    ScalarDynamics,
    check_observations_are_arrays,
)
from safe_envs.rendering.frames import FrameRenderer

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
NOTHING = np.float64(0.0)  # the cost of most steps


class SingleEnv(gym.Env[Any, Any]):
    """An environment that follows the cost contract; equal to a native vector form of one row.

    Infos have "cost" and "episode_cost", with several constraints also "costs", with signed margins
    also "constraint_values", and the details that the dynamics add. Numbers are NumPy scalars.

    Args:
        dynamics: the problem.
        render_mode: None, "rgb_array" or "human".
        scalar: the same problem for one state at a time; None steps a batch of one.
        max_episode_steps: steps after which an episode is truncated; None for no limit.
            `gymnasium.make` applies the registered limit with a wrapper.

    Raises:
        ValueError: if an argument is out of its range.
        RuntimeError: if `render_mode` is "human" and there is no screen.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 30}
    _np_random: Any  # Gymnasium's generator; reset() creates it if needed

    def __init__(
        self,
        dynamics: BatchDynamics,
        render_mode: str | None = None,
        scalar: ScalarDynamics | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        if max_episode_steps is not None:
            check_count(max_episode_steps=max_episode_steps)
        check_observations_are_arrays(dynamics.single_observation_space)
        metadata = self.metadata | {"render_fps": dynamics.render_fps}
        self._renderer = FrameRenderer(render_mode, metadata)
        self.metadata = self._renderer.metadata
        self.render_mode = render_mode
        self.observation_space = dynamics.single_observation_space
        self.action_space = dynamics.single_action_space
        self.constraints = dynamics.constraints
        self.reward_discount = dynamics.reward_discount
        self.cost_space = cost_space_of(dynamics.constraints, dynamics.cost_high)
        self.dynamics = dynamics
        self._scalar: ScalarDynamics = OneRow(dynamics) if scalar is None else scalar
        self._several = len(dynamics.constraints) > 1
        self._shows = render_mode == "human"
        self._time_limit = max_episode_steps
        self._state: Any = None
        self._steps = 0
        self._episode_cost = NOTHING
        # Whole numbers in [first, end) are actions as they are; everything else is checked.
        self._first, self._end = whole_actions(self.action_space)
        self._check = action_check(self.action_space)

    def current_state(self, purpose: str) -> Any:
        """Return the state; before the first reset, raise ResetNeeded with the purpose."""
        if self._state is None:
            raise gym.error.ResetNeeded(f"call reset() before {purpose}")
        return self._state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; `options={"state": x}` starts it in the state x."""
        if seed is not None or self._np_random is None:
            super().reset(seed=seed)
            rng = self.np_random
        else:
            rng = self._np_random
        self._state, seen, margins, details = self._scalar.start(rng, options or NO_OPTIONS)
        self._steps = 0
        self._episode_cost = NOTHING
        info: dict[str, Any] = {"cost": NOTHING, "episode_cost": NOTHING}
        if self._several:
            info["costs"] = np.zeros(len(self.constraints))
        if margins is not None:
            info["constraint_values"] = margins
        if details is not None:
            info |= details
        if self._shows:
            self.render()
        return seen, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step; the class docstring says when reward and cost are charged."""
        state = self._state
        if state is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        if type(action) is not int or not self._first <= action < self._end:
            action = self._check(action)
        self._state, seen, reward, cost, terminated, costs, margins, details = self._scalar.step(
            state, action, self._np_random
        )
        charged = NOTHING
        if cost:
            charged = np.float64(cost)
            self._episode_cost = self._episode_cost + charged
        info: dict[str, Any] = {"cost": charged, "episode_cost": self._episode_cost}
        if costs is not None:
            info["costs"] = costs
        if margins is not None:
            info["constraint_values"] = margins
        if details is not None:
            info |= details
        if self._shows:
            self.render()
        truncated = self._time_limit is not None and self._counts_to(self._time_limit)
        return seen, reward, terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """Return the frame of the current state, or show it in a window."""
        state = self.current_state("render()")
        return self._renderer.render(lambda: self._scalar.frame(state))

    def close(self) -> None:
        """Close the window and free the resources of the dynamics."""
        self._renderer.close()
        self.dynamics.close()

    def _counts_to(self, limit: int) -> bool:
        self._steps += 1
        return self._steps >= limit
