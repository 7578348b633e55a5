"""Gymnasium environments, single and batched, that sample a `TabularCMDP`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.cost_signal import ConstraintSpec
from safe_envs.contract.dynamics import BatchStep, ScalarStart, ScalarStep
from safe_envs.contract.single_env import SingleEnv
from safe_envs.tabular.keyboard import Keys, numbered_keys
from safe_envs.tabular.model import TabularCMDP
from safe_envs.tabular.observations import ObservationName, observation_named

FrameDrawer = Callable[[int], np.ndarray]  # state -> (height, width, 3) uint8
FRAMES_PER_SECOND = 8


class TransitionTables:
    """A CMDP as lookup tables that need one uniform number per step.

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
    """Return (S,) bool: the state is never left and neither rewards nor costs anything.

    It is its own only successor; the probability itself may be a rounding error beside 1.
    """
    states = np.arange(model.num_states)
    left = model.P > 0
    left[states, :, states] = False
    stays = ~left.any(axis=(1, 2))
    return stays & (model.reward == 0).all(axis=1) & (model.costs == 0).all(axis=(0, 2))


class TabularEnv(SingleEnv):
    """One environment that samples a CMDP; reward and cost are for the state before the step.

    An episode terminates on entering an absorbing state, which is exact: nothing is earned there.

    Args:
        dynamics: the problem.
        render_mode: None, "rgb_array" or "human".
        keys: which keys select which action in `gymnasium.utils.play`; None numbers the actions.
    """

    def __init__(
        self, dynamics: TabularBatch, render_mode: str | None = None, keys: Keys | None = None
    ) -> None:
        scalar = dynamics.observation.scalar(ScalarTabular(dynamics))
        super().__init__(dynamics, render_mode, scalar)
        self._model, self._seen = dynamics.model, dynamics.observation
        self._keys = numbered_keys(self._model.num_actions) if keys is None else keys

    def tabular_model(self) -> TabularCMDP:
        """Return the CMDP that this environment samples."""
        return self._model

    def tabular_observations(self) -> np.ndarray:
        """Return the observation of each state of `tabular_model()`, (S,) or (S, S)."""
        return self._seen.of(np.arange(self._model.num_states))

    def get_keys_to_action(self) -> Keys:
        """Return the keys of `gymnasium.utils.play`: key codes pressed together -> action."""
        return dict(self._keys)


class ScalarTabular:
    """`TabularBatch` for one state, looked up in lists."""

    def __init__(self, dynamics: TabularBatch) -> None:
        tables = dynamics.tables
        self._draw = dynamics.draw
        self._starts = tables.starts.tolist()
        self._starts_cumulative = tables.starts_cumulative.tolist()
        columns = (tables.cumulative, tables.successors, tables.reward, tables.costs.sum(axis=2))
        self._rows = [  # of each state and action
            list(zip(*of_state, strict=True))
            for of_state in zip(*(column.tolist() for column in columns), strict=True)
        ]
        self._costs = tables.costs if len(dynamics.constraints) > 1 else None
        self._absorbing = tables.absorbing.tolist()

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Return a state drawn from the model's initial distribution, or the one given."""
        if "state" in options:
            state = checked_state(options["state"], len(self._absorbing))
        else:
            state = self._starts[bisect_right(self._starts_cumulative, rng.random())]
        return state, state, None, None

    def step(self, state: int, action: int, rng: np.random.Generator) -> ScalarStep:
        """Look up one transition."""
        cumulative, successors, reward, cost = self._rows[state][action]
        reached = successors[bisect_right(cumulative, rng.random())]
        costs = None if self._costs is None else self._costs[state, action].copy()
        return reached, reached, reward, cost, self._absorbing[reached], costs, None, None

    def frame(self, state: int) -> np.ndarray:
        """Return the picture of the state."""
        return self._draw(state)


class TabularBatch:
    """The batched dynamics of a CMDP; states are whole numbers (n,).

    Args:
        model: the problem.
        constraints: its declared constraints, in the order of `model.costs`.
        draw: returns the frame of a state.
        observation: "index" or "one_hot": how the state is observed.
    """

    def __init__(
        self,
        model: TabularCMDP,
        constraints: tuple[ConstraintSpec, ...],
        draw: FrameDrawer,
        observation: ObservationName = "index",
    ) -> None:
        self.observation = observation_named(observation, model.num_states)
        self.constraints = constraints
        self.reward_discount = model.discount
        self.cost_high = model.costs.max(axis=(1, 2))
        self.single_observation_space: gym.Space = self.observation.space
        self.single_action_space: gym.Space = gym.spaces.Discrete(model.num_actions)
        self.render_fps = FRAMES_PER_SECOND
        self.model = model
        self.draw = draw
        self.tables = TransitionTables(model)
        width = self.tables.successors.shape[2]
        self._actions = model.num_actions
        self._pairs = model.num_states * model.num_actions
        # Column by column: entry k of the pair p is at index k * pairs + p.
        self._successors = self.tables.successors.reshape(-1, width).T.reshape(-1).copy()
        self._boundaries = self.tables.cumulative.reshape(-1, width).T[: width - 1].copy()
        self._reward = self.tables.reward.reshape(-1)
        self._costs = self.tables.costs.reshape(-1, len(constraints))  # (S * A, m)

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` first states."""
        starts = np.searchsorted(self.tables.starts_cumulative, rng.random(count), side="right")
        return self.tables.starts[starts]

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return `count` states given by the user."""
        array = np.asarray(states)
        if array.shape != (count,):
            raise ValueError(
                f"state has shape {array.shape}; pass one state per environment, shape ({count},)"
            )
        return np.array([checked_state(s, len(self.tables.absorbing)) for s in array])

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw one uniform number per environment."""
        return rng.random(count)

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Look up all transitions."""
        pairs = states * self._actions + actions
        entries = pairs
        for boundary in self._boundaries:
            entries = entries + self._pairs * (noise >= boundary[pairs])
        next_states = self._successors[entries]
        return BatchStep(
            next_states,
            self._reward[pairs],
            self._costs[pairs],
            self.tables.absorbing[next_states],
        )

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return the observations of the states."""
        return self.observation.of(states)

    def margins(self, states: np.ndarray) -> None:
        """Return None: tabular costs have no signed margins."""

    def start_details(self, states: np.ndarray) -> None:
        """Return None: infos have no other entries."""

    def frame(self, state: Any) -> np.ndarray:
        """Return the picture of one state."""
        return self.draw(int(state))

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def checked_state(state: Any, num_states: int) -> int:
    """Return a state number given by the user; raise ValueError if there is no such state."""
    array = np.asarray(state)
    if array.shape == () and np.issubdtype(array.dtype, np.integer) and 0 <= array < num_states:
        return int(array)
    raise ValueError(
        f"state {array.tolist()!r} does not exist; pass a whole number from 0 to {num_states - 1}"
    )
