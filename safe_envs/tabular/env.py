"""Gymnasium environments, single and batched, that sample a `TabularCMDP`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import checked_discrete
from safe_envs.contract.cost_signal import ConstraintSpec, cost_space_of
from safe_envs.contract.vector_env import BatchStep
from safe_envs.rendering.frames import FrameRenderer
from safe_envs.tabular.model import TabularCMDP

FrameDrawer = Callable[[int], np.ndarray]  # state -> (height, width, 3) uint8


class TransitionTables:
    """A CMDP as tables that one uniform number per step looks up.

    The successor of (s, a) is the first entry whose cumulative probability exceeds the number.
    """

    def __init__(self, model: TabularCMDP) -> None:
        states, actions = model.num_states, model.num_actions
        width = int(np.count_nonzero(model.P, axis=2).max())
        self.successors = np.zeros((states, actions, width), dtype=np.int64)
        self.cumulative = np.ones((states, actions, width))  # (S, A, width), ends with 1
        for s in range(states):
            for a in range(actions):
                reached = np.flatnonzero(model.P[s, a])
                count = len(reached)
                self.successors[s, a, :count] = reached
                self.cumulative[s, a, : count - 1] = np.cumsum(model.P[s, a, reached])[:-1]
        self.starts = np.flatnonzero(model.initial)
        self.starts_cumulative = np.cumsum(model.initial[self.starts])
        self.starts_cumulative[-1] = 1.0
        self.reward = np.array(model.reward)
        self.costs = np.ascontiguousarray(model.costs.transpose(1, 2, 0))  # (S, A, m)
        self.absorbing = absorbing_states(model)


def absorbing_states(model: TabularCMDP) -> np.ndarray:
    """Return (S,) bool: the state is never left and neither rewards nor costs anything."""
    states = np.arange(model.num_states)
    stays = (model.P[states, :, states] == 1.0).all(axis=1)
    return stays & (model.reward == 0).all(axis=1) & (model.costs == 0).all(axis=(0, 2))


class TabularEnv(gym.Env):
    """One environment that samples a CMDP; reward and cost are those of the state left.

    An episode terminates on entering an absorbing state, which is exact: nothing is earned there.

    Args:
        model: the problem.
        constraints: its declared constraints, in the order of `model.costs`.
        draw: draws a state, for `render_mode` "rgb_array" and "human".
        render_mode: None, "rgb_array" or "human".
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 8}

    def __init__(
        self,
        model: TabularCMDP,
        constraints: tuple[ConstraintSpec, ...],
        draw: FrameDrawer,
        render_mode: str | None = None,
    ) -> None:
        self.observation_space = gym.spaces.Discrete(model.num_states)
        self._action_space = gym.spaces.Discrete(model.num_actions)
        self.action_space = self._action_space
        self.render_mode = render_mode
        self.constraints = constraints
        self.reward_discount = model.discount
        self.cost_space = cost_space_of(constraints, model.costs.max(axis=(1, 2)))
        self._model = model
        self._draw = draw
        self._renderer = FrameRenderer(render_mode, self.metadata)
        tables = TransitionTables(model)
        self._starts = tables.starts.tolist()
        self._starts_cumulative = tables.starts_cumulative.tolist()
        self._successors = tables.successors.tolist()
        self._cumulative = tables.cumulative.tolist()
        self._reward = tables.reward.tolist()
        self._cost = tables.costs.sum(axis=2).tolist()
        self._costs = tables.costs
        self._absorbing = tables.absorbing.tolist()
        self._per_constraint = len(constraints) > 1
        self._actions = model.num_actions
        self._state: int | None = None
        self._episode_cost = 0.0

    def tabular_model(self) -> TabularCMDP:
        """Return the CMDP that this environment samples."""
        return self._model

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Start an episode; `options={"state": s}` starts it in state s."""
        super().reset(seed=seed)
        if options is not None and "state" in options:
            self._state = checked_state(options["state"], self._model.num_states)
        else:
            start = bisect_right(self._starts_cumulative, self.np_random.random())
            self._state = self._starts[start]
        self._episode_cost = 0.0
        info: dict[str, Any] = {"cost": 0.0, "episode_cost": 0.0}
        if self._per_constraint:
            info["costs"] = np.zeros(len(self.constraints))
        if self.render_mode == "human":
            self.render()
        return self._state, info

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Take one step; see the class for when reward and cost are charged."""
        if type(action) is not int or not 0 <= action < self._actions:
            action = checked_discrete(action, self._action_space)
        state = self._state
        if state is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        reached = bisect_right(self._cumulative[state][action], self.np_random.random())
        self._state = next_state = self._successors[state][action][reached]
        cost = self._cost[state][action]
        self._episode_cost += cost
        info: dict[str, Any] = {"cost": cost, "episode_cost": self._episode_cost}
        if self._per_constraint:
            info["costs"] = self._costs[state, action].copy()
        if self.render_mode == "human":
            self.render()
        return next_state, self._reward[state][action], self._absorbing[next_state], False, info

    def render(self) -> np.ndarray | None:
        """Return the frame of the current state, or show it in a window."""
        state = self._state
        if state is None:
            raise gym.error.ResetNeeded("call reset() before render()")
        return self._renderer.render(lambda: self._draw(state))

    def close(self) -> None:
        """Close the window, if one is open."""
        self._renderer.close()


class TabularBatch:
    """The batched dynamics of a CMDP, for `NativeVectorEnv`. States are whole numbers (n,)."""

    def __init__(
        self,
        model: TabularCMDP,
        constraints: tuple[ConstraintSpec, ...],
        draw: FrameDrawer,
    ) -> None:
        self.constraints = constraints
        self.reward_discount = model.discount
        self.cost_high = model.costs.max(axis=(1, 2))
        self.single_observation_space: gym.Space = gym.spaces.Discrete(model.num_states)
        self.single_action_space: gym.Space = gym.spaces.Discrete(model.num_actions)
        self._draw = draw
        self._tables = TransitionTables(model)
        width = self._tables.successors.shape[2]
        self._actions = model.num_actions
        self._pairs = model.num_states * model.num_actions
        # Column by column: entry k of the pair p stands at k * pairs + p.
        self._successors = self._tables.successors.reshape(-1, width).T.reshape(-1).copy()
        self._boundaries = self._tables.cumulative.reshape(-1, width).T[: width - 1].copy()
        self._reward = self._tables.reward.reshape(-1)
        self._costs = self._tables.costs.reshape(-1, len(constraints))  # (S * A, m)

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` first states."""
        starts = np.searchsorted(self._tables.starts_cumulative, rng.random(count), side="right")
        return self._tables.starts[starts]

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return `count` states given by the user."""
        array = np.asarray(states)
        if array.shape != (count,):
            raise ValueError(f"state has shape {array.shape}; pass one state each, ({count},)")
        return np.array([checked_state(s, len(self._tables.absorbing)) for s in array])

    def draws(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw one uniform number per environment."""
        return rng.random(count)

    def step(self, states: np.ndarray, actions: np.ndarray, draws: np.ndarray) -> BatchStep:
        """Look all transitions up."""
        pairs = states * self._actions + actions
        entries = pairs
        for boundary in self._boundaries:
            entries = entries + self._pairs * (draws >= boundary[pairs])
        next_states = self._successors[entries]
        return BatchStep(
            next_states,
            self._reward[pairs],
            self._costs[pairs],
            self._tables.absorbing[next_states],
        )

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return the observations of the states."""
        return states.copy()

    def margins(self, states: np.ndarray) -> None:
        """Return None: costs of a table have no signed margins."""

    def draw(self, state: Any) -> np.ndarray:
        """Return the frame of one state."""
        return self._draw(int(state))


def checked_state(state: Any, num_states: int) -> int:
    """Return a state number given by the user; ValueError if there is no such state."""
    array = np.asarray(state)
    if array.shape == () and np.issubdtype(array.dtype, np.integer) and 0 <= array < num_states:
        return int(array)
    raise ValueError(
        f"state {state!r} does not exist; pass a whole number from 0 to {num_states - 1}"
    )
