"""The port between the safety filter and an environment: `env.unwrapped.filter_plant()`.

The filter works in a variable u, such as physical inputs, and sees the environment only as a
`FilterPlant`. For an environment without this method u is the action, the state is the last
observation, and the user passes the barrier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from safe_envs.safety_filters.quadratic_program import Weight

Rows = tuple[np.ndarray, np.ndarray]  # A (k, m), b (k,); of batches A (N, k, m), b (N, k)
RowFunction = Callable[[np.ndarray, np.ndarray], Rows]  # of the state and the reference action
MetricFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of state and reference, (m, m)
WeightAt = Callable[[int], Weight]


class BarrierRows(Protocol):
    """The rows A u >= b in every state of one scene."""

    def __call__(self, state: np.ndarray, reference: np.ndarray) -> Rows:
        """Return A (k, m) and b (k,) at a state (n,) and a reference (m,)."""
        ...

    def batch(self, states: np.ndarray, references: np.ndarray) -> Rows:
        """Return A (N, k, m) and b (N, k) at states (n, N) and references (m, N)."""
        ...

    def of(self, column: int) -> BarrierRows:
        """Return the rows of one environment of a batch."""
        ...


@runtime_checkable
class Barrier(Protocol):
    """A rule for which actions keep a plant safe."""

    def rows_on(self, plant: FilterPlant) -> Callable[[], BarrierRows]:
        """Return a function that computes the rows in the current scene.

        A reset may change them, and, if the plant's `scene_moves`, every step.

        Raises:
            ValueError: if the barrier is not made for this kind of plant.
        """
        ...


class MetricWeights(Protocol):
    """A metric prepared for the filter's program."""

    @property
    def metric(self) -> object:
        """The matrix (m, m), or what gives one in each state."""
        ...

    def at(self, state: np.ndarray, reference: np.ndarray) -> Weight:
        """Return the weight in one state (n,)."""
        ...

    def batch(self, states: np.ndarray, references: np.ndarray) -> Weight | WeightAt:
        """Return the weight in all states (n, N), or a function that gives the i-th state's."""
        ...


@runtime_checkable
class PlantMetric(Protocol):
    """A metric made for one kind of plant, such as the curvature of a fitted value."""

    def weights_on(self, plant: FilterPlant, slack_weight: float) -> MetricWeights:
        """Return the metric, prepared for the program with this price of a violated row.

        Raises:
            ValueError: if the metric is not made for this plant.
        """
        ...


class FittedValue(Protocol):
    """An action value fitted to data of a plant."""

    def metric(self) -> np.ndarray:
        """Return minus the value's Hessian by u, one matrix (m, m) for all states."""
        ...


def observed_state(observation: Any) -> np.ndarray:
    """Return the observation as a new float64 array."""
    return np.array(observation, dtype=np.float64)


def unchanged(action: np.ndarray) -> np.ndarray:
    """Return the action: u is the action."""
    return action


def columns(rows: Any) -> np.ndarray:
    """Return rows (N, n) of a batch, one per environment, as columns (n, N) of float64."""
    return np.ascontiguousarray(np.asarray(rows, dtype=np.float64).T)


@dataclass(frozen=True, eq=False)
class FilterPlant:
    """What the filter knows of an environment.

    A native vector form offers the same: its states (n, N) and u (m, N) have one column per
    environment, observations and actions one row.

    Args:
        low: lower bound of u, (m,).
        high: upper bound of u, (m,).
        barrier: the environment's own; None if it has none.
        metrics: the environment's named metrics, as functions that return a matrix (m, m).
        state: from the last observation to the present state.
        decoded: from an action within its bounds to u.
        encoded: from u to the action that the environment takes.
        fit: from recorded data to an action value; None if none can be fitted.
        system: what the environment's own barriers and metrics read.
        scene_moves: whether the barrier's rows change between resets, not only with the state.
    """

    low: np.ndarray
    high: np.ndarray
    barrier: Barrier | None = None
    metrics: Mapping[str, Callable[[], np.ndarray]] = field(default_factory=dict)
    state: Callable[[Any], np.ndarray] = observed_state
    decoded: Callable[[np.ndarray], np.ndarray] = unchanged
    encoded: Callable[[np.ndarray], np.ndarray] = unchanged
    fit: Callable[[Any], FittedValue] | None = None
    system: object = None
    scene_moves: bool = False


@runtime_checkable
class OffersFilterPlant(Protocol):
    """An environment, single or in native vector form, that describes itself to the filter."""

    def filter_plant(self) -> FilterPlant:
        """Return what the filter needs to know."""
        ...


def plant_of(env: gym.Env, space: gym.spaces.Box) -> FilterPlant:
    """Return the plant that the environment offers, or one of its actions and observations.

    Args:
        env: which may offer `filter_plant()`.
        space: its actions.

    Raises:
        ValueError: if a wrapper changes the actions that the plant describes.
    """
    inner = env.unwrapped
    if not isinstance(inner, OffersFilterPlant):
        return FilterPlant(space.low.astype(np.float64), space.high.astype(np.float64))
    _check_actions(space, inner.action_space)
    return inner.filter_plant()


def vector_plant_of(env: gym.vector.VectorEnv) -> FilterPlant:
    """Return the plant that the native vector form offers.

    Raises:
        TypeError: if it offers none.
        ValueError: if a wrapper changes the actions that the plant describes.
    """
    inner = env.unwrapped
    if not isinstance(inner, OffersFilterPlant):
        raise TypeError(
            f"the vector filter needs a native vector form with the method filter_plant(), and "
            f"{inner} has none; use gymnasium.vector.SyncVectorEnv over environments in a "
            "SafetyFilter"
        )
    _check_actions(env.single_action_space, inner.single_action_space)
    return inner.filter_plant()


def _check_actions(space: gym.Space, own: gym.Space) -> None:
    if space != own:
        raise ValueError(
            f"a wrapper changes the environment's actions to {space}; put the filter around the "
            "environment first and that wrapper around the filter"
        )
