"""A wrapper that makes any Gymnasium environment follow the cost contract, with checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.action_checks import checked_discrete
from safe_envs.contract.argument_checks import check_number
from safe_envs.contract.cost_signal import (
    ConstraintSpec,
    CostSignalError,
    NonFiniteEnvError,
    cost_space_of,
    declared_constraints,
)
from safe_envs.contract.transition_values import kept, with_numpy_scalars

CostFunction = Callable[[Any, Any, Any, float, dict[str, Any]], float | Sequence[float]]


class ConstrainedWrapper(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Adds constraints to any environment, checked at every step.

    The cost of a step comes from `cost_fn(obs, action, next_obs, reward, info)` if given, else
    from the third of six values if `step` returns six (as in Safety-Gymnasium), else from
    `info["costs"]` or `info["cost"]`. Declares `constraints`, `reward_discount` and `cost_space`
    on `env.unwrapped`.

    Out-of-range Box actions are clipped; NaN, a wrong shape and an invalid Discrete action raise
    ValueError. `cost_fn` gets copies, so environments may reuse their arrays. Python numbers in
    infos become NumPy scalars.

    Args:
        env: the environment to wrap.
        constraints: one `ConstraintSpec` or several; None keeps those the environment declares.
        cost_fn: returns the step's cost, or one cost per constraint.
        reward_discount: the discount of the return, 1.0 for the plain sum; None keeps the declared
            one, or 1.0 if there is none.

    Raises:
        ValueError: if constraints are not `ConstraintSpec`s with different names.
        CostSignalError: if constraints are neither given nor declared; at a step, if the cost is
            missing, not finite, negative or of the wrong shape.
        NonFiniteEnvError: at a step, if the observation or the reward is not finite.

    Example:
        >>> import gymnasium as gym
        >>> from safe_envs import ConstrainedWrapper, ConstraintSpec
        >>> env = ConstrainedWrapper(
        ...     gym.make("Pendulum-v1"),
        ...     constraints=ConstraintSpec("fast", limit=20.0),
        ...     cost_fn=lambda obs, action, next_obs, reward, info: float(abs(next_obs[2]) > 4.0),
        ... )
        >>> obs, info = env.reset(seed=0)
        >>> info["cost"].item()
        0.0
    """

    def __init__(
        self,
        env: gym.Env,
        constraints: ConstraintSpec | Sequence[ConstraintSpec] | None = None,
        cost_fn: CostFunction | None = None,
        reward_discount: float | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, constraints=constraints, cost_fn=cost_fn, reward_discount=reward_discount
        )
        gym.Wrapper.__init__(self, env)
        if constraints is None:
            constraints = declared_constraints(env)
        elif isinstance(constraints, ConstraintSpec):
            constraints = (constraints,)
        self.constraints = _checked_constraints(constraints)
        inner: Any = env.unwrapped
        if reward_discount is None:
            try:
                reward_discount = inner.reward_discount
            except AttributeError:
                reward_discount = 1.0
        check_number("reward_discount", reward_discount, low=0.0, high=1.0, open_low=True)
        self.reward_discount = float(reward_discount)
        self.cost_space = cost_space_of(self.constraints)
        inner.constraints = self.constraints
        inner.reward_discount = self.reward_discount
        inner.cost_space = self.cost_space
        self._cost_fn = cost_fn
        self._name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        self._last_observation: Any = None
        self._steps = 0
        self._episode_cost = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode; the cost in its info is 0.0."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._steps, self._episode_cost = 0, 0.0
        self._check_finite("observation", observation)
        if self._cost_fn is not None:
            self._last_observation = kept(observation)
        return observation, self._with_cost(info, np.zeros(len(self.constraints)))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step and check its result."""
        action = checked_action(action, self.action_space)
        taken = action if self._cost_fn is None else kept(action)
        outcome = self.env.step(action)
        self._steps += 1
        if len(outcome) == 6:
            observation, reward, tuple_cost, terminated, truncated, info = outcome
        else:
            observation, reward, terminated, truncated, info = outcome
            tuple_cost = None
        reward = float(reward)
        self._check_finite("observation", observation)
        self._check_finite("reward", reward)
        if self._cost_fn is not None:
            last, self._last_observation = self._last_observation, kept(observation)
            given = self._cost_fn(last, taken, kept(observation), reward, info)
        elif tuple_cost is not None:
            given = tuple_cost
        else:
            given = self._cost_in(info)
        costs = self._checked_costs(given)
        self._episode_cost += float(costs.sum())
        return observation, reward, bool(terminated), bool(truncated), self._with_cost(info, costs)

    def _cost_in(self, info: Mapping[str, Any]) -> Any:
        key = "costs" if len(self.constraints) > 1 else "cost"
        if key not in info:
            raise CostSignalError(
                f"{self._name}, step {self._steps}: info has no {key!r} (it has {sorted(info)}); "
                "report it on every step or pass cost_fn"
            )
        return info[key]

    def _checked_costs(self, given: Any) -> np.ndarray:
        where = f"{self._name}, step {self._steps}: the cost is {given!r}"
        try:
            costs = np.atleast_1d(np.array(given, dtype=np.float64))
        except (TypeError, ValueError):
            raise CostSignalError(f"{where}; return a number") from None
        if costs.shape != (len(self.constraints),):
            names = ", ".join(repr(c.name) for c in self.constraints)
            raise CostSignalError(
                f"{where}, of shape {costs.shape}; there are {len(self.constraints)} constraints "
                f"({names}): return one number for each"
            )
        if not np.isfinite(costs).all():
            raise CostSignalError(f"{where}; it has to be finite")
        if (costs < 0).any():
            raise CostSignalError(f"{where}; costs are >= 0; is this a reward?")
        return costs

    def _with_cost(self, info: dict[str, Any], costs: np.ndarray) -> dict[str, Any]:
        totals = {"cost": costs.sum(), "episode_cost": np.float64(self._episode_cost)}
        info = with_numpy_scalars(info) | totals
        info.pop("costs", None)  # of an inner wrapper with other constraints
        if len(self.constraints) > 1:
            info["costs"] = costs
        return info

    def _check_finite(self, what: str, value: Any) -> None:
        for leaf in _leaves(value):
            array = np.asarray(leaf)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise NonFiniteEnvError(
                    f"{self._name}, step {self._steps}: the {what} is {value!r}; it has to be "
                    "finite"
                )


def _checked_constraints(given: Any) -> tuple[ConstraintSpec, ...]:
    several = isinstance(given, Sequence) and all(isinstance(c, ConstraintSpec) for c in given)
    if not several:
        raise ValueError(f"constraints is {given!r}; pass a ConstraintSpec or a list of them")
    if not given:
        raise ValueError("constraints is empty; pass at least one ConstraintSpec")
    names = [c.name for c in given]
    if len(set(names)) < len(names):
        raise ValueError(f"constraints have the names {names}; pass different names")
    return tuple(given)


def checked_action(action: Any, space: gym.Space) -> Any:
    """Return the action for the environment: clipped if Box, an int if Discrete.

    A Box action within its bounds is returned unchanged, in its own precision.

    Raises:
        ValueError: if it contains NaN, has the wrong shape or is not in the space.
    """
    if isinstance(space, gym.spaces.Discrete):
        return checked_discrete(action, space)
    if isinstance(space, gym.spaces.Box):
        array = np.asarray(action)
        if array.shape != space.shape or array.dtype.kind not in "fiub":
            raise ValueError(
                f"action {action!r} has shape {array.shape} and type {array.dtype}; pass numbers "
                f"of shape {space.shape}"
            )
        if np.isnan(array).any():
            raise ValueError(f"action {action!r} contains NaN; pass numbers (they are clipped)")
        inside = (array >= space.low).all() and (array <= space.high).all()
        return array if inside else np.clip(array, space.low, space.high).astype(space.dtype)
    if not space.contains(action):
        raise ValueError(f"action {action!r} is not in {space}")
    return action


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
