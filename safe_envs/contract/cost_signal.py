"""The cost contract: how environments declare constraints and how costs are read.

`step` returns Gymnasium's five values. `info["cost"]` is the step's total cost, a float64 >= 0, on
every step, including the last one of an episode, and 0.0 after reset. With m > 1 constraints,
`info["costs"]` holds one cost for each, shape (m,), and sums to `info["cost"]`.
`info["episode_cost"]` is the undiscounted sum since reset. If an environment has signed margins,
`info["constraint_values"]` holds one number per margin, <= 0 if satisfied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.contract.row_infos import RowInfos

CostLimits = float | Sequence[float] | None
ONLY_RESET = "only_reset"  # marks the info of a row that a step only reset; a mask has "_" in front
ZERO = np.zeros(())  # faster to compare with than Python's 0.0


class CostSignalError(RuntimeError):
    """An environment broke the cost contract; the message names environment, step and value."""


class NonFiniteEnvError(RuntimeError):
    """An environment returned NaN or infinity as observation or reward."""


@dataclass(frozen=True)
class ConstraintSpec:
    """One constraint: E[sum_t discount^t cost_t] over an episode is at most `limit`.

    Args:
        name: what is limited, such as "chasm" or "velocity".
        limit: upper bound of the expected discounted sum of the cost.
        discount: 1.0 is the plain sum.

    Raises:
        ValueError: if the limit is not finite or the discount is outside (0, 1].
    """

    name: str
    limit: float
    discount: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit):
            raise ValueError(f"limit of {self.name!r} is {self.limit}; pass a finite number")
        if not 0.0 < self.discount <= 1.0:
            raise ValueError(
                f"discount of {self.name!r} is {self.discount}; pass a number in (0, 1]"
            )


def with_limits(
    constraints: tuple[ConstraintSpec, ...], cost_limits: CostLimits, argument: str = "cost_limits"
) -> tuple[ConstraintSpec, ...]:
    """Return the constraints with other limits; None keeps the declared ones.

    Args:
        constraints: m of them.
        cost_limits: one number per constraint; a single number if m = 1.
        argument: name of the argument with the limits, for the error.

    Raises:
        ValueError: if there is not exactly one limit per constraint.
    """
    if cost_limits is None:
        return constraints
    limits = checked_limits(cost_limits, argument)
    if limits.shape != (len(constraints),):
        names = ", ".join(repr(c.name) for c in constraints)
        raise ValueError(
            f"{argument} has {_counted(limits.size, 'entry', 'entries')} but the environment "
            f"declares {_counted(len(constraints), 'constraint', 'constraints')} ({names}); pass "
            f"{_counted(len(constraints), 'number', 'numbers')}"
        )
    return tuple(
        replace(c, limit=float(limit)) for c, limit in zip(constraints, limits, strict=True)
    )


def checked_limits(cost_limits: Any, argument: str) -> np.ndarray:
    """Return limits given by the user as a float64 array (k,).

    Raises:
        ValueError: if they are not finite numbers; the error has the name of the argument.
    """
    try:
        limits = np.atleast_1d(np.asarray(cost_limits, dtype=np.float64))
    except (TypeError, ValueError):
        limits = np.array([np.nan])
    if limits.ndim != 1 or not np.isfinite(limits).all():
        raise ValueError(
            f"{argument} is {cost_limits!r}; pass a finite number, or one per constraint"
        )
    return limits


def declare_constraints(
    limits: Mapping[str, float], discount: float, cost_limits: CostLimits
) -> tuple[ConstraintSpec, ...]:
    """Return one constraint per name with its default limit, or with `cost_limits` instead.

    Raises:
        ValueError: if `cost_limits` does not have one entry per constraint.
    """
    defaults = tuple(ConstraintSpec(name, limit, discount) for name, limit in limits.items())
    return with_limits(defaults, cost_limits)


def cost_space_of(
    constraints: tuple[ConstraintSpec, ...], high: float | np.ndarray = np.inf
) -> gym.spaces.Box:
    """Return the space of one step's costs, Box(0, high, (m,)), where `high` bounds each cost."""
    upper = np.broadcast_to(np.asarray(high, dtype=np.float64), (len(constraints),)).copy()
    return gym.spaces.Box(np.zeros(len(constraints)), upper, dtype=np.float64)


def declared_constraints(env: gym.Env | gym.vector.VectorEnv) -> tuple[ConstraintSpec, ...]:
    """Return the constraints an environment declares on `env.unwrapped`.

    Raises:
        CostSignalError: if it declares none.
    """
    try:
        constraints: tuple[ConstraintSpec, ...] = env.unwrapped.constraints  # type: ignore
    except AttributeError:
        constraints = ()
    if not constraints:
        raise CostSignalError(
            f"{env} declares no constraints; wrap it: "
            "safe_envs.ConstrainedWrapper(env, constraints=..., cost_fn=...)"
        )
    return constraints


def read_costs(
    infos: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    num_envs: int,
    num_constraints: int,
    copy: bool = True,
    only_reset: np.ndarray | None = None,
) -> np.ndarray:
    """Return the costs of the step just taken, shape (num_envs, num_constraints), float64.

    Reads the infos of Gymnasium's vector environments (a dict of arrays, all autoreset modes), a
    list of infos as in Stable-Baselines3, and the array of `RowInfos`. With SAME_STEP autoreset, an
    ended row's `info` belongs to the next episode; its last cost is in `final_info`, which is read
    first.

    Every row that took a step has a cost. With NEXT_STEP autoreset, the step after the end of an
    episode only resets the row, and costs 0. Such rows are recognized by `only_reset`, or by the
    mask `infos["_only_reset"]` of this project's own vector environments; environments that keep
    the contract also report their 0.0.

    Args:
        infos: of the step.
        num_envs: number of environments.
        num_constraints: m.
        copy: whether the caller may change the result; False may return the array of a `RowInfos`.
        only_reset: rows that this step only reset, (num_envs,) bool: with NEXT_STEP autoreset those
            whose `terminated | truncated` was True at the step before.

    Raises:
        CostSignalError: if a row that took a step has no cost, or one that is not a finite number
            >= 0 or has the wrong shape.
    """
    if num_constraints == 0:
        return np.zeros((num_envs, 0))
    key = "cost" if num_constraints == 1 else "costs"
    if type(infos) is RowInfos and infos.costs.shape == (num_envs, num_constraints):
        costs = _read_rows(infos, key, copy)
    elif isinstance(infos, (dict, Mapping)):  # a dict is recognized at once
        costs = _read_batch(infos, key, (num_envs, num_constraints), only_reset)
    else:
        costs = _read_list(infos, key, num_envs, num_constraints, only_reset=only_reset)
    # Counting is the fastest way to test an array, and this test runs at every step.
    if np.count_nonzero(np.isfinite(costs)) < costs.size or np.count_nonzero(costs < ZERO):
        sound = np.isfinite(costs) & (costs >= 0.0)
        row = int(np.flatnonzero(~sound.all(axis=1))[0])
        raise CostSignalError(
            f"environment {row}: the cost is {costs[row].tolist()}; costs must be finite and >= 0"
        )
    return costs


def _read_batch(
    infos: Mapping[str, Any], key: str, shape: tuple[int, int], only_reset: np.ndarray | None
) -> np.ndarray:
    """Return the costs (N, m) in a dict of arrays."""
    idle = infos.get(f"_{ONLY_RESET}") if only_reset is None else only_reset
    needed = None if idle is None else ~np.asarray(idle, dtype=np.bool_)
    final = infos.get("final_info")
    if final is None:
        return _rows(infos, key, shape, needed)
    if "_final_info" not in infos:
        raise CostSignalError("infos have 'final_info' but no mask '_final_info' of its rows")
    ended = np.asarray(infos["_final_info"], dtype=np.bool_)
    if not ended.any():
        return _rows(infos, key, shape, needed)
    if isinstance(final, Mapping):
        last = _rows(final, key, shape, ended)[ended]
    else:  # Gymnasium 0.29 gives one info per ended row
        rows = [info for info, over in zip(final, ended, strict=True) if over]
        last = _read_list(rows, key, len(rows), shape[1])
    if ended.all():
        return last
    costs = _rows(infos, key, shape, ~ended if needed is None else needed & ~ended)
    costs[ended] = last
    return costs


def _rows(
    infos: Mapping[str, Any], key: str, shape: tuple[int, int], needed: np.ndarray | None
) -> np.ndarray:
    """Return the costs (N, m) of the needed rows, (N,) bool; all if None. Other rows get 0."""
    given, mask = infos.get(key), infos.get("_" + key)
    reported = np.zeros(shape[0], dtype=np.bool_) if given is None else mask
    if reported is not None and np.count_nonzero(reported) < shape[0]:
        missing = ~np.asarray(reported, dtype=np.bool_)
        if needed is not None:
            missing &= needed
        if missing.any():
            rows = f" of environments {np.flatnonzero(missing).tolist()}"
            raise CostSignalError(
                f"info has no {key!r}{'' if missing.all() else rows} (it has {sorted(infos)}); an "
                "environment reports its cost on every step: wrap it with "
                "safe_envs.ConstrainedWrapper. Where a step may only reset rows (NEXT_STEP "
                "autoreset), pass only_reset"
            )
        if given is None:
            return np.zeros(shape)
    values = _numbers(given, key, shape, mask)
    if needed is not None:
        values[~needed] = 0.0
    return values


def _numbers(given: Any, key: str, shape: tuple[int, int], mask: Any) -> np.ndarray:
    """Return a copy of an info's entry as float64 (N, m); rows whose mask is False are 0."""
    array = np.asarray(given)
    is_whole = mask is None or np.count_nonzero(mask) == shape[0]
    if array.dtype.kind in "bui" and mask is not None and shape[0] > 1:
        # Gymnasium gives the array the type of the first row's number and casts the others to it.
        raise CostSignalError(
            f"info[{key!r}] is an array of {array.dtype}, in which another environment's 0.5 would "
            f"have become {array.dtype.type(0.5)}; report the cost as a float, or wrap each "
            "environment with safe_envs.ConstrainedWrapper"
        )
    if array.dtype == object:  # of values that Gymnasium does not know, None where there are none
        rows = np.arange(shape[0]) if is_whole else np.flatnonzero(mask)
        numbers = np.zeros((shape[0], *np.shape(array[rows[0]])))
        numbers[rows] = _as_numbers([array[row] for row in rows], key)
    else:
        numbers = _as_numbers(array, key)
    if numbers.size != shape[0] * shape[1] or (numbers.ndim and len(numbers) != shape[0]):
        raise CostSignalError(
            f"info[{key!r}] has shape {numbers.shape} but "
            f"{_counted(shape[0], 'environment', 'environments')} with "
            f"{_counted(shape[1], 'constraint', 'constraints')} need shape {shape}"
        )
    numbers = numbers.reshape(shape)
    if not is_whole:
        numbers[~np.asarray(mask, dtype=np.bool_)] = 0.0
    return numbers


def _as_numbers(given: Any, key: str) -> np.ndarray:
    """Return a copy as an array of float64."""
    try:
        return np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CostSignalError(f"info[{key!r}] is not a number everywhere: {error}") from None


def _read_rows(infos: RowInfos, key: str, copy: bool) -> np.ndarray:
    """Return the array of costs; rows whose dict was created are read from that dict."""
    if not copy and not infos.made:
        return infos.costs
    costs = infos.costs.copy()
    for row, info in infos.made.items():
        costs[row] = _read_list([info], key, 1, costs.shape[1], row)
    return costs


def _read_list(
    infos: Sequence[Mapping[str, Any]],
    key: str,
    num_envs: int,
    num_constraints: int,
    first_row: int = 0,
    only_reset: np.ndarray | None = None,
) -> np.ndarray:
    if len(infos) != num_envs:
        raise CostSignalError(
            f"{_counted(len(infos), 'info was', 'infos were')} given for "
            f"{_counted(num_envs, 'environment', 'environments')}"
        )
    idle = only_reset
    if idle is None and any(ONLY_RESET in info for info in infos):
        idle = np.array([bool(info.get(ONLY_RESET)) for info in infos])
    rows = range(num_envs) if idle is None else np.flatnonzero(~np.asarray(idle)).tolist()
    for row in rows:
        if key not in infos[row]:
            raise CostSignalError(
                f"info of environment {first_row + row} has no {key!r} (it has "
                f"{sorted(infos[row])}); wrap the environment with safe_envs.ConstrainedWrapper"
            )
    values = _as_numbers([infos[row][key] for row in rows], key)
    if values.size != len(rows) * num_constraints or len(values) != len(rows):
        raise CostSignalError(
            f"{key!r} of {_counted(len(rows), 'info', 'infos')} has shape {values.shape}; expected "
            f"{_counted(num_constraints, 'cost', 'costs')} each"
        )
    values = values.reshape(len(rows), num_constraints)
    if idle is None:
        return values
    costs = np.zeros((num_envs, num_constraints))
    costs[rows] = values
    return costs


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
