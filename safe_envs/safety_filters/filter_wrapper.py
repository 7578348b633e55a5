"""A wrapper that replaces unsafe actions by the nearest safe ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import checked_box
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.filtered.action_value import FittedQ
from safe_envs.quadrotor.filtered.transitions import Transitions
from safe_envs.safety_filters.barriers import RowFunction, SphereRows, SphereZCBF
from safe_envs.safety_filters.metrics import (
    Metric,
    check_vehicle,
    floored,
    metric_at,
    resolved_metric,
)
from safe_envs.safety_filters.quadratic_program import (
    SLACK_WEIGHT,
    Weight,
    checked_array,
    checked_rows,
    solve,
    trusted_weight,
    weight_of,
)

CERTIFIED_SLACK = 1e-3  # a step with more slack than this broke a row and is not certified
Gradient = np.ndarray | Callable[[np.ndarray, np.ndarray], np.ndarray]


class SafetyFilter(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """An environment whose actions are projected onto safe ones before they are taken.

        u = argmin (u - u_ref)' W (u - u_ref)   over u with A u >= b, low <= u <= high

    A and b come from the barrier, W is the metric; see `quadratic_program` for the slack. Source:
    Lin and Xu, "Curvature-Guided Safety Filters" (arXiv 2602.12603), equation 5. An action that is
    safe passes as it came.

    Costs, constraints and observations are those of the wrapped environment. Every step's info
    gains:
    - `"action_ref"`, `"action_safe"`: the action given (clipped into its bounds) and the one taken;
    - `"filter_active"`: whether they differ;
    - `"filter_slack"`: by how much the worst row is broken, in units of u; above
      `CERTIFIED_SLACK` (0.001) no action was found that the barrier certifies;
    - `"filter_correction"`: |u - u_ref|;
    - `"filter_status"`: "kept", "solved", "fallback" or "failed", see `quadratic_program.solve`;
    - `"filter_time"`: seconds spent in the filter.

    The filter is part of the environment: an agent that learns in it stores the action it chose,
    `"action_ref"`, in its rollout or replay buffer, not the one that was taken.

    For quadrotors u are the rotor thrusts in [0, 1] and the state has 13 entries. For any other
    environment u is the action and the state is the last observation.

    Args:
        env: with a Box action space of one axis.
        barrier: a `SphereZCBF` for quadrotors, an `AffineBarrier` for linear systems, or a function
            `rows(state, reference) -> (A, b)`.
        metric: "euclidean"; "lqr", for quadrotors; "fqi", learnt, for the Crazyflie; a matrix
            (m, m); a `FittedQ`, for its mean curvature; `FittedQ.state_metric()`, for the curvature
            in each state; or a function of state and reference. Eigenvalues below 0.1 of the
            largest are raised to it; of `state_metric`, of its mean's largest. See also `fit`.
        slack_weight: rho, the price of a broken row.
        gradient: g of the action's value at the reference, (m,), or a function of state and
            reference; adds -g'(u - u_ref) to the program where the reference is unsafe.
            Experimental.

    Raises:
        ValueError: if the metric, the barrier or the slack's weight does not fit the environment.
        TypeError: if the action space is none the filter can handle.

    Example:
        >>> import gymnasium as gym
        >>> import safe_envs
        >>> from safe_envs.safety_filters import SafetyFilter, double_integrator_barrier
        >>> env = SafetyFilter(
        ...     gym.make("Safe/DoubleIntegrator-v0"), double_integrator_barrier(), "euclidean"
        ... )
        >>> _ = env.reset(options={"state": (14.9, 1.0)}, seed=0)
        >>> info = env.step([1.0])[4]
        >>> info["filter_active"], info["cost"]
        (True, 0.0)
    """

    def __init__(
        self,
        env: gym.Env,
        barrier: SphereZCBF | RowFunction,
        metric: Metric = "lqr",
        slack_weight: float = SLACK_WEIGHT,
        gradient: Gradient | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, barrier=barrier, metric=metric, slack_weight=slack_weight, gradient=gradient
        )
        gym.Wrapper.__init__(self, env)
        inner = env.unwrapped
        self._scene = inner if isinstance(inner, QuadrotorEnv) else None
        self._box = _checked_space(env, self._scene)
        self.barrier = _checked_barrier(barrier, self._scene)
        self.slack_weight = slack_weight
        self._count = self._box.shape[0]
        self._low, self._high = self._bounds()
        vehicle = None if self._scene is None else self._scene.vehicle
        self.metric = resolved_metric(metric, self._count, vehicle, QuadrotorEnv.control_dt)
        constant = self.metric if isinstance(self.metric, np.ndarray) else np.eye(self._count)
        self._weight = weight_of(constant, slack_weight)
        self._gradient = gradient
        if gradient is not None and not callable(gradient):
            self._gradient = checked_array("gradient", gradient, (self._count,))
        self._rows: RowFunction | None = None
        self._observation: Any = None

    def fit(self, transitions: Transitions) -> FittedQ:
        """Fit an action value to flights and filter in its mean curvature from now on.

        The fit has the defaults of `fitted_q.fit_q`; for any other pass its result as the metric.
        A copy that `gymnasium.make` builds from the wrapper's spec has the metric too.

        Args:
            transitions: of the environment's vehicle, as from
                `quadrotor_transitions.collect_transitions`.

        Returns:
            The value, to be saved or examined.

        Raises:
            ValueError: if the environment is no quadrotor, or another vehicle flew.
        """
        # Imported late: loaded with the package, it would warn when run as `python -m`.
        from safe_envs.quadrotor.filtered.fitted_q import fit_q

        vehicle = None if self._scene is None else self._scene.vehicle
        check_vehicle(transitions.vehicle, vehicle, QuadrotorEnv.control_dt)
        fitted = fit_q(transitions)
        matrix = floored(fitted.metric())
        self.metric, self._weight = matrix, weight_of(matrix, self.slack_weight)
        self._saved_kwargs["metric"] = fitted.metric()
        self._cached_spec = None
        return fitted

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; the barrier is put around the new obstacles."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        if isinstance(self.barrier, SphereZCBF):
            scene = self._scene
            assert scene is not None
            self._rows = self.barrier.around(
                scene.vehicle, scene.control_dt, scene.centres, scene.radii
            )
        else:
            self._rows = self.barrier
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Project the action and take it."""
        if self._rows is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        started = time.perf_counter()
        given = checked_box(action, self._box)
        state, reference = self._state(), self._decoded(given)
        rows, bounds = self._rows(state, reference)
        if not isinstance(self._rows, SphereRows):
            rows, bounds = checked_rows(rows, bounds, self._count)
        weight = self._weight_at(state, reference)
        gradient = self._gradient_at(state, reference)
        found = solve(weight, reference, rows, bounds, self._low, self._high, gradient)
        taken = self._encoded(found.action) if found.active else given
        elapsed = time.perf_counter() - started
        outcome = self.env.step(taken if found.active else action)
        self._observation, reward, terminated, truncated, info = outcome
        info = info | {
            "action_ref": given,
            "action_safe": taken,
            "filter_active": found.active,
            "filter_slack": found.slack,
            "filter_correction": float(np.linalg.norm(found.action - reference)),
            "filter_status": found.status,
            "filter_time": elapsed,
        }
        return self._observation, reward, terminated, truncated, info

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        if self._scene is not None:
            return np.zeros(self._count), np.ones(self._count)
        return self._box.low.astype(np.float64), self._box.high.astype(np.float64)

    def _state(self) -> np.ndarray:
        state = self._observation if self._scene is None else self._scene.state
        return np.array(state, dtype=np.float64)

    def _decoded(self, action: np.ndarray) -> np.ndarray:
        return action if self._scene is None else 0.5 * (action + 1.0)  # as its `thrusts_of`

    def _encoded(self, u: np.ndarray) -> np.ndarray:
        return u if self._scene is None else self._scene.action_of(u)

    def _weight_at(self, state: np.ndarray, reference: np.ndarray) -> Weight:
        if isinstance(self.metric, np.ndarray):
            return self._weight
        now = 0.0 if self._scene is None else self._scene.time
        return trusted_weight(metric_at(self.metric, state, reference, now), self.slack_weight)

    def _gradient_at(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray | None:
        if not callable(self._gradient):
            return self._gradient
        given = self._gradient(state, reference)
        return checked_array("the gradient function's result", given, (self._count,))


def _checked_space(env: gym.Env, scene: QuadrotorEnv | None) -> gym.spaces.Box:
    space = env.action_space
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise TypeError(f"the filter needs a Box action space of one axis, this is {space}")
    if scene is not None and space != scene.action_space:
        raise ValueError(
            f"a wrapper changes the quadrotor's actions to {space}; put the filter around the "
            "environment first and that wrapper around the filter"
        )
    return space


def _checked_barrier(
    barrier: SphereZCBF | RowFunction, scene: QuadrotorEnv | None
) -> SphereZCBF | RowFunction:
    if not (isinstance(barrier, SphereZCBF) or callable(barrier)):
        raise TypeError(
            f"barrier is {barrier!r}; pass a SphereZCBF, an AffineBarrier or a function "
            "rows(state, reference) -> (A, b)"
        )
    if isinstance(barrier, SphereZCBF) and scene is None:
        raise ValueError(
            "SphereZCBF is for quadrotor environments and this is none; pass an AffineBarrier or "
            "a function rows(state, reference) -> (A, b)"
        )
    return barrier
