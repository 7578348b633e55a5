"""How an agent observes the state of a CMDP: as its number, or as a vector for networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import gymnasium as gym
import numpy as np

from safe_envs.contract.argument_checks import check_choice
from safe_envs.contract.dynamics import ScalarDynamics, ScalarStart, ScalarStep
from safe_envs.contract.one_hot_box import OneHotBox

ObservationName = Literal["index", "one_hot"]


class StateObservation(Protocol):
    """How states are observed."""

    space: gym.Space

    def of(self, states: np.ndarray) -> np.ndarray:
        """Return the observations of n states, which share no memory with them."""
        ...

    def scalar(self, numbers: ScalarDynamics) -> ScalarDynamics:
        """Return the dynamics of one state, given those whose observation is its number."""
        ...


class Index:
    """States are observed as their number."""

    def __init__(self, num_states: int) -> None:
        self.space: gym.Space = gym.spaces.Discrete(num_states)

    def of(self, states: np.ndarray) -> np.ndarray:
        """Return the state numbers, (n,)."""
        return states.copy()

    def scalar(self, numbers: ScalarDynamics) -> ScalarDynamics:
        """Return the dynamics as they are."""
        return numbers


class OneHot:
    """States are observed as rows of the identity matrix."""

    def __init__(self, num_states: int) -> None:
        self.space: gym.Space = OneHotBox(num_states)
        self._rows = np.eye(num_states, dtype=np.float32)

    def of(self, states: np.ndarray) -> np.ndarray:
        """Return one row per state, (n, S) float32."""
        return self._rows.take(states, axis=0)

    def scalar(self, numbers: ScalarDynamics) -> ScalarDynamics:
        """Return the dynamics with rows in place of numbers."""
        return OneHotScalar(numbers, self._rows)


class OneHotScalar:
    """Dynamics of one state, with its row of the identity matrix as the observation."""

    def __init__(self, numbers: ScalarDynamics, rows: np.ndarray) -> None:
        self._numbers = numbers
        self._rows = list(rows)

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Return a first state."""
        state, number, margins, details = self._numbers.start(rng, options)
        return state, self._rows[number].copy(), margins, details

    def step(self, state: Any, action: Any, rng: np.random.Generator) -> ScalarStep:
        """Return one step."""
        reached, number, reward, cost, terminated, costs, margins, details = self._numbers.step(
            state, action, rng
        )
        row = self._rows[number].copy()
        return reached, row, reward, cost, terminated, costs, margins, details

    def frame(self, state: Any) -> np.ndarray:
        """Return the picture of the state."""
        return self._numbers.frame(state)


OBSERVATIONS: dict[str, Callable[[int], StateObservation]] = {"index": Index, "one_hot": OneHot}


def observation_named(name: ObservationName, num_states: int) -> StateObservation:
    """Return how the states of a CMDP are observed.

    Args:
        name: "index", the number of the state, or "one_hot", a row of the identity matrix.
        num_states: number of states S.

    Raises:
        ValueError: if there is no such observation.
    """
    check_choice("observation", name, tuple(OBSERVATIONS))
    return OBSERVATIONS[name](num_states)
