"""A wrapper that replaces unsafe actions by the nearest safe ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from safe_envs.contract.action_checks import checked_box
from safe_envs.contract.argument_checks import checked_array
from safe_envs.contract.transition_values import kept
from safe_envs.safety_filters.barriers import resolved_barrier
from safe_envs.safety_filters.filter_plant import (
    Barrier,
    BarrierRows,
    FittedValue,
    RowFunction,
    plant_of,
)
from safe_envs.safety_filters.metrics import Metric, resolved_metric
from safe_envs.safety_filters.quadratic_program import SLACK_WEIGHT, STATUSES, dot, solve

CERTIFIED_SLACK = 1e-3  # with more slack than this a step violates a row and is not certified
Gradient = np.ndarray | Callable[[np.ndarray, np.ndarray], np.ndarray]


class SafetyFilter(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """An environment whose actions are projected onto safe ones before they are taken.

        u = argmin (u - u_ref)' W (u - u_ref)   over u with A u >= b, low <= u <= high

    A and b come from the barrier, and W is the metric; see `quadratic_program` for the slack. A
    safe action passes unchanged. Source: Lin and Xu, "Curvature-Guided Safety Filters" (arXiv
    2602.12603), equation 5.

    Costs, constraints and observations are those of the wrapped environment. Every step's info
    gains:
    - `"action_ref"`, `"action_safe"`: the action given (clipped into its bounds) and the one taken;
    - `"filter_active"`: whether they differ;
    - `"filter_slack"`: by how much the worst row is violated, in units of u; above
      `CERTIFIED_SLACK` (0.001) the barrier does not certify the action;
    - `"filter_correction"`: |u - u_ref|;
    - `"filter_status"`: how the action was found, as an index into `STATUSES` ("kept", "solved",
      "fallback", "failed"), see `quadratic_program.solve`;
    - `"filter_time"`: seconds spent in the filter.

    After a reset they have the values of a step with a zero action that needed no correction.

    The filter is part of the environment: an agent that learns in it stores the action it chose,
    `"action_ref"`, in its rollout or replay buffer, not the action taken.

    An environment that offers `env.unwrapped.filter_plant()` says what u and the state are, and has
    a barrier and metrics of its own, see `filter_plant.FilterPlant`. For any other environment u is
    the action, the state is the last observation, and the barrier and the metric have to be passed.

    Args:
        env: with a Box action space of one axis.
        barrier: None for the environment's own; an `AffineBarrier` for a linear system; a function
            `rows(state, reference) -> (A, b)`; or a barrier made for the environment.
        metric: "euclidean"; a name that the environment knows, such as "lqr"; a matrix (m, m); a
            value fitted to the environment, for its mean curvature, or its metric of the state; or
            a function of state and reference. Eigenvalues below 0.1 of the largest are raised to
            it. See also `fit`.
        slack_weight: rho, the price of a violated row.
        gradient: g of the action's value at the reference, (m,), or a function of state and
            reference; adds -g'(u - u_ref) to the program where the reference is unsafe.
            Experimental.

    Raises:
        ValueError: if the metric, the barrier or the slack weight does not fit the environment.
        TypeError: if the action space is one that the filter cannot handle.

    Example:
        >>> import gymnasium as gym
        >>> import numpy as np
        >>> from safe_envs.safety_filters import SafetyFilter
        >>> def gently(state, reference):  # u <= 0.5
        ...     return np.array([[-1.0]]), np.array([-0.5])
        >>> env = SafetyFilter(gym.make("MountainCarContinuous-v0"), gently, "euclidean")
        >>> _ = env.reset(seed=0)
        >>> info = env.step([1.0])[4]
        >>> bool(info["filter_active"]), info["action_safe"].round(3).tolist()
        (True, [0.5])
    """

    def __init__(
        self,
        env: gym.Env,
        barrier: Barrier | RowFunction | None = None,
        metric: Metric = "lqr",
        slack_weight: float = SLACK_WEIGHT,
        gradient: Gradient | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, barrier=barrier, metric=metric, slack_weight=slack_weight, gradient=gradient
        )
        gym.Wrapper.__init__(self, env)
        self._box = _checked_space(env)
        self._plant = plant = plant_of(env, self._box)
        self._rows_now = resolved_barrier(barrier, plant)
        self._weights = resolved_metric(metric, plant, slack_weight)
        self.barrier = plant.barrier if barrier is None else barrier
        self.metric = self._weights.metric
        self.slack_weight = slack_weight
        self._count = len(plant.low)
        self._gradient = gradient
        if gradient is not None and not callable(gradient):
            self._gradient = checked_array("gradient", gradient, (self._count,))
        self._rows: BarrierRows | None = None
        self._observation: Any = None

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]
        """Gymnasium's spec; it says that two steps alike are not equal, as their times are not."""
        found = super().spec
        if found is not None:
            found.nondeterministic = True
        return found

    def fit(self, transitions: Any) -> FittedValue:
        """Fit an action value to recorded steps and filter in its mean curvature from now on.

        The fit has the environment's defaults; for any other pass its result as the metric. A copy
        that `gymnasium.make` builds from the wrapper's spec has the metric too.

        Args:
            transitions: of this kind of environment, in its own form.

        Returns:
            The value, to be saved or examined.

        Raises:
            ValueError: if no value can be fitted for this environment, or the transitions are of
                another one.
        """
        if self._plant.fit is None:
            raise ValueError(
                "no value can be fitted for this environment; pass a metric that is a matrix or a "
                "function of state and reference"
            )
        fitted = self._plant.fit(transitions)
        self._weights = resolved_metric(fitted.metric(), self._plant, self.slack_weight)
        self.metric = self._weights.metric
        self._saved_kwargs["metric"] = fitted.metric()
        self._cached_spec = None
        return fitted

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; the barrier is put around the new obstacles."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._observation = kept(observation)
        self._rows = self._rows_now()
        return observation, info | no_correction(self._box.shape)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Project the action and take it."""
        if self._rows is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        started = time.perf_counter()
        plant = self._plant
        if plant.scene_moves:
            self._rows = self._rows_now()
        given = checked_box(action, self._box)
        state, reference = plant.state(self._observation), plant.decoded(given)
        rows, bounds = self._rows(state, reference)
        weight = self._weights.at(state, reference)
        gradient = self._gradient_at(state, reference)
        found = solve(weight, reference, rows, bounds, plant.low, plant.high, gradient)
        taken = plant.encoded(found.action) if found.active else given
        elapsed = time.perf_counter() - started
        outcome = self.env.step(taken if found.active else action)
        observation, reward, terminated, truncated, info = outcome
        self._observation = kept(observation)
        change = (found.action - reference).tolist()
        info = info | {
            "action_ref": np.array(given, dtype=np.float64),
            "action_safe": np.array(taken, dtype=np.float64),
            "filter_active": np.bool_(found.active),
            "filter_slack": np.float64(found.slack),
            "filter_correction": np.float64(math.sqrt(dot(change, change))),
            "filter_status": np.int64(STATUSES.index(found.status)),
            "filter_time": np.float64(elapsed),
        }
        return observation, reward, terminated, truncated, info

    def _gradient_at(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray | None:
        if not callable(self._gradient):
            return self._gradient
        given = self._gradient(state, reference)
        return checked_array("the gradient function's result", given, (self._count,))


def no_correction(shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the filter's info entries before any step, for actions of this shape."""
    return {
        "action_ref": np.zeros(shape),
        "action_safe": np.zeros(shape),
        "filter_active": np.bool_(False),
        "filter_slack": np.float64(0.0),
        "filter_correction": np.float64(0.0),
        "filter_status": np.int64(STATUSES.index("kept")),
        "filter_time": np.float64(0.0),
    }


def _checked_space(env: gym.Env) -> gym.spaces.Box:
    space = env.action_space
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise TypeError(f"the filter needs a Box action space with one axis; this one is {space}")
    return space
