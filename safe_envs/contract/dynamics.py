"""The dynamics of an environment, written once for many states at a time.

`NativeVectorEnv` and `SingleEnv` turn them into Gymnasium's two forms and take care of seeding,
reset options, autoreset or time limits, cost sums and infos. If a single state is much faster to
step in plain floats, an environment adds `ScalarDynamics`; the registry-wide tests check that both
are equal bit for bit. Without them, `OneRow` steps a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from safe_envs.contract.cost_signal import ConstraintSpec


class BatchStep(NamedTuple):
    """One step of n environments."""

    states: np.ndarray  # (n, ...)
    reward: np.ndarray  # (n,)
    costs: np.ndarray  # (n, m), every entry >= 0
    terminated: np.ndarray  # (n,) bool
    margins: np.ndarray | None = None  # (n, k) signed margins, <= 0 if satisfied
    details: Mapping[str, np.ndarray] | None = None  # further entries of the infos, (n, ...)


class BatchDynamics(Protocol):
    """A problem on arrays of states; the first axis of the states is the environments."""

    constraints: tuple[ConstraintSpec, ...]
    reward_discount: float
    cost_high: np.ndarray  # (m,) largest cost of one step
    single_observation_space: gym.Space
    single_action_space: gym.Space
    render_fps: int

    def initial_states(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` first states."""
        ...

    def checked_states(self, states: Any, count: int) -> np.ndarray:
        """Return `count` states given by the user, or raise ValueError."""
        ...

    def noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the random numbers for one step of `count` environments, (count, ...)."""
        ...

    def step(self, states: np.ndarray, actions: np.ndarray, noise: np.ndarray) -> BatchStep:
        """Return one step of all states, in new arrays; `noise` is the only randomness."""
        ...

    def observe(self, states: np.ndarray) -> np.ndarray:
        """Return observations that share no memory with the states."""
        ...

    def margins(self, states: np.ndarray) -> np.ndarray | None:
        """Return the (n, k) signed margins of states after reset, None if there are none."""
        ...

    def start_details(self, states: np.ndarray) -> Mapping[str, np.ndarray] | None:
        """Return, in new arrays, what `BatchStep.details` holds, for states after reset."""
        ...

    def frame(self, state: Any) -> np.ndarray:
        """Return the picture of one state, (height, width, 3) uint8."""
        ...

    def close(self) -> None:
        """Free the resources used for stepping or drawing."""
        ...


# Scalar dynamics return plain tuples, because these cost almost nothing to create.
# Margins are (k,) or None if there are none; costs are (m,), or None for one constraint; details
# are further entries of the info, NumPy scalars and arrays, or None.
#   ScalarStart: state, observation, margins, details
#   ScalarStep: state, observation, reward, cost, terminated, costs, margins, details
Details = dict[str, Any] | None
ScalarStart = tuple[Any, Any, np.ndarray | None, Details]
ScalarStep = tuple[Any, Any, float, float, bool, np.ndarray | None, np.ndarray | None, Details]


class ScalarDynamics(Protocol):
    """The same problem for one state at a time."""

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Return a first state: the one in `options["state"]`, else a drawn one.

        Raises:
            ValueError: if an option is invalid.
        """
        ...

    def step(self, state: Any, action: Any, rng: np.random.Generator) -> ScalarStep:
        """Return one step; the action is an int or a float64 array within its bounds."""
        ...

    def frame(self, state: Any) -> np.ndarray:
        """Return the picture of the state, (height, width, 3) uint8."""
        ...


def checked_single_state(check: Callable[[Any, int], Any], state: Any) -> Any:
    """Return what a check of `count` states makes of a single one.

    Raises:
        ValueError: if it refuses the state; its shapes are those of a batch of one.
    """
    try:
        return check(np.asarray(state)[None], 1)
    except ValueError as error:
        raise ValueError(
            f"{error}; these shapes are of a batch of one: leave out their first axis"
        ) from None


def check_observations_are_arrays(space: gym.Space) -> None:
    """Raise TypeError if observations of many environments are not one array."""
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        raise TypeError(
            f"observations are {space}; dynamics observe one array, so declare a Box, Discrete, "
            "MultiDiscrete or MultiBinary space"
        )


class OneRow:
    """Batched dynamics as `ScalarDynamics`: a batch of one."""

    def __init__(self, dynamics: BatchDynamics) -> None:
        self._dynamics = dynamics
        self._several = len(dynamics.constraints) > 1

    def start(self, rng: np.random.Generator, options: Mapping[str, Any]) -> ScalarStart:
        """Return a first state."""
        if "state" in options:
            states = checked_single_state(self._dynamics.checked_states, options["state"])
        else:
            states = self._dynamics.initial_states(rng, 1)
        margins = self._dynamics.margins(states)
        details = self._dynamics.start_details(states)
        seen = self._dynamics.observe(states)[0]
        return states, seen, None if margins is None else margins[0], _first_row(details)

    def step(self, state: np.ndarray, action: Any, rng: np.random.Generator) -> ScalarStep:
        """Return one step."""
        dynamics = self._dynamics
        actions = np.asarray(action)[None]
        reached, reward, costs, terminated, margins, details = dynamics.step(
            state, actions, dynamics.noise(rng, 1)
        )
        return (
            reached,
            dynamics.observe(reached)[0],
            float(reward[0]),
            float(costs.sum(axis=1)[0]),
            bool(terminated[0]),
            costs[0] if self._several else None,
            None if margins is None else margins[0],
            _first_row(details),
        )

    def frame(self, state: np.ndarray) -> np.ndarray:
        """Return the picture of the state."""
        return self._dynamics.frame(state[0])


def _first_row(details: Mapping[str, np.ndarray] | None) -> Details:
    return None if details is None else {name: values[0] for name, values in details.items()}
