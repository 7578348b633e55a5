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
) -> np.ndarray:
    """Return the costs of the step just taken, shape (num_envs, num_constraints), float64.

    Reads the infos of Gymnasium's vector environments (a dict of arrays, both autoreset modes), a
    list of infos as in Stable-Baselines3, and the array of `RowInfos`. With SAME_STEP autoreset, an
    ended row's `info` belongs to the next episode; its last cost is in `final_info`, which is read
    first. A row whose mask is False was only reset by this step and has no cost.

    Args:
        infos: of the step.
        num_envs: number of environments.
        num_constraints: m.
        copy: whether the caller may change the result; False may return the array of a `RowInfos`.

    Raises:
        CostSignalError: if a stepped row has no cost, or one of the wrong shape.
    """
    key = "cost" if num_constraints == 1 else "costs"
    if type(infos) is RowInfos and infos.costs.shape == (num_envs, num_constraints):
        return _read_rows(infos, key, copy)
    if not isinstance(infos, (dict, Mapping)):  # a dict is recognized at once
        return _read_list(infos, key, num_envs, num_constraints)
    final = infos.get("final_info")
    if final is None:
        return _rows(infos, key, num_envs, num_constraints)
    ended = np.asarray(infos["_final_info"])
    if not ended.any():
        return _rows(infos, key, num_envs, num_constraints)
    if isinstance(final, Mapping):
        last = _rows(final, key, num_envs, num_constraints)[ended]
    else:  # Gymnasium 0.29 gives one info per ended row
        rows = [info for info, over in zip(final, ended, strict=True) if over]
        last = _read_list(rows, key, len(rows), num_constraints)
    if ended.all():
        return last
    costs = _rows(infos, key, num_envs, num_constraints)
    costs[ended] = last
    return costs


def _rows(infos: Mapping[str, Any], key: str, num_envs: int, num_constraints: int) -> np.ndarray:
    if key not in infos:
        raise CostSignalError(
            f"info has no {key!r} (it has {sorted(infos)}); an environment reports its cost on "
            "every step and after reset: wrap it with safe_envs.ConstrainedWrapper"
        )
    values = np.array(infos[key], np.float64)
    if values.size != num_envs * num_constraints:
        raise CostSignalError(
            f"info[{key!r}] has shape {values.shape} but "
            f"{_counted(num_envs, 'environment', 'environments')} with "
            f"{_counted(num_constraints, 'constraint', 'constraints')} need shape "
            f"({num_envs}, {num_constraints})"
        )
    values = values.reshape(num_envs, num_constraints)
    stepped = infos.get("_" + key)
    if stepped is not None and np.count_nonzero(stepped) < num_envs:
        values[~np.asarray(stepped)] = 0.0
    return values


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
) -> np.ndarray:
    if len(infos) != num_envs:
        raise CostSignalError(
            f"{_counted(len(infos), 'info was', 'infos were')} given for "
            f"{_counted(num_envs, 'environment', 'environments')}"
        )
    for row, info in enumerate(infos, first_row):
        if key not in info:
            raise CostSignalError(
                f"info of environment {row} has no {key!r} (it has {sorted(info)}); wrap the "
                "environment with safe_envs.ConstrainedWrapper"
            )
    values = np.asarray([info[key] for info in infos], dtype=np.float64)
    if values.size != num_envs * num_constraints:
        raise CostSignalError(
            f"{key!r} of {_counted(num_envs, 'info', 'infos')} has shape {values.shape}; expected "
            f"{_counted(num_constraints, 'cost', 'costs')} each"
        )
    return values.reshape(num_envs, num_constraints)


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
