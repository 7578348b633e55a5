"""Actions that meet an environment's constraint on them: the nearest ones, or near ones.

`repair_actions` repairs a batch; the wrapper `RepairedActions` repairs every action before the
environment takes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from safe_envs.action_constraints.action_constraint import ActionConstraint, OffersActionConstraint
from safe_envs.action_constraints.nearest import nearest_actions, worst_violation
from safe_envs.action_constraints.repair import RepairSettings
from safe_envs.action_constraints.rows import QuadraticRows
from safe_envs.contract.action_checks import checked_box
from safe_envs.contract.transition_values import kept

DEFAULT_SETTINGS = RepairSettings()
NONE: tuple[type, ...] = ()  # Gymnasium < 1.0 has no such wrappers of vector environments
ACTION_WRAPPERS = (
    gym.ActionWrapper,
    getattr(gym.vector, "VectorActionWrapper", NONE),
    getattr(gym.wrappers, "RepeatAction", NONE),
    getattr(gym.wrappers, "MaxAndSkipObservation", NONE),
)
LEAVE_BOTH_ALONE = ("gymnasium", "safe_envs", "agents", "baselines", "stable_baselines3")
OBSERVATION_WRAPPERS = (
    gym.ObservationWrapper,
    getattr(gym.vector, "VectorObservationWrapper", NONE),
)


class ActionRepair(NamedTuple):
    """What became of B actions."""

    actions: np.ndarray  # (B, n) float64, within the constraint's box
    feasible: np.ndarray  # (B,) bool, whether the rows hold there within the tolerance


def repair_actions(
    constraint: ActionConstraint,
    observations: np.ndarray,
    actions: np.ndarray,
    settings: RepairSettings = DEFAULT_SETTINGS,
) -> ActionRepair:
    """Return actions that meet the constraint, and whether they do.

    Actions are clipped into the constraint's box first, as environments do; those that meet the
    rows then stay as they are. Of a single number, and where one linear row decides, the result is
    the allowed action nearest to the clipped one (`interval`, `half_space`). Where several rows
    decide, or a row has squares, it is found by `repair` and is near, but not always nearest. Where
    no action in the box meets the most broken linear row, it is the one that breaks this row least.

    NaN in an action stays. An action whose rows are not finite is only clipped. Both are not
    feasible.

    Args:
        constraint: of an environment.
        observations: (B, ...), as the constraint's rows take them.
        actions: (B, n).
        settings: of `repair`; its tolerance, in the units of the rows, is that of `feasible`.

    Raises:
        ValueError: if the shapes do not fit.
    """
    given = np.asarray(actions, dtype=np.float64)
    size = len(constraint.low)
    if given.shape != (len(observations), size):
        raise ValueError(
            f"actions have shape {given.shape}; pass one of {size} numbers for each of the "
            f"{len(observations)} observations, shape ({len(observations)}, {size})"
        )
    raw = np.clip(given, constraint.low, constraint.high)
    rows = each_instance(constraint.rows_at(observations, raw), len(raw))
    if not rows.lower.size:
        return ActionRepair(raw, np.asarray(~np.isnan(raw).any(axis=1)))
    sound = _sound(rows) & ~np.isnan(raw).any(axis=1)
    with np.errstate(invalid="ignore"):  # of rows that are not finite
        worst = worst_violation(rows, raw)
    broken = np.flatnonzero(sound & (worst > 0.0))
    if len(broken):
        own = some_instances(rows, broken)
        raw[broken] = nearest_actions(raw[broken], own, constraint.low, constraint.high, settings)
        worst[broken] = worst_violation(own, raw[broken])
    return ActionRepair(raw, np.asarray(sound & (worst <= settings.tolerance)))


def each_instance(rows: QuadraticRows, count: int) -> QuadraticRows:
    """Return the rows with one set for each of `count` instances."""
    linear, lower, upper, squares = rows
    k, n = linear.shape[1:]
    return QuadraticRows(
        np.broadcast_to(linear, (count, k, n)),
        np.broadcast_to(lower, (count, k)),
        np.broadcast_to(upper, (count, k)),
        None if squares is None else np.broadcast_to(squares, (count, k, n)),
    )


def some_instances(rows: QuadraticRows, which: Any) -> QuadraticRows:
    """Return the rows of chosen instances, by their numbers; NumPy arrays and tensors alike."""
    linear, lower, upper, squares = rows
    curved = None if squares is None else squares[which]
    return QuadraticRows(linear[which], lower[which], upper[which], curved)


def _sound(rows: QuadraticRows) -> np.ndarray:
    """Return whether the rows of each instance are numbers, (B,)."""
    sound: np.ndarray = np.isfinite(rows.linear).all(axis=(1, 2))
    sound &= ~(np.isnan(rows.lower) | np.isnan(rows.upper)).any(axis=1)
    if rows.squares is not None:
        sound &= np.isfinite(rows.squares).all(axis=(1, 2))
    return sound


class RepairedActions(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """An environment whose actions are repaired before they are taken.

    The constraint on actions is a function of the last observation, so that an agent can repair
    its own actions in the same way, see `repair_actions`. An allowed action passes unchanged.

    Costs, constraints and observations are those of the wrapped environment. Every step's info
    gains:
    - `"action_ref"`, `"action_safe"`: the action given (clipped into its bounds) and the one taken;
    - `"repair_active"`: whether they differ;
    - `"repair_correction"`: the distance between them, in the units of actions;
    - `"repair_feasible"`: whether the action taken meets the constraint.

    After a reset they have the values of a step with a zero action that needed no repair.

    The repair is part of the environment: an agent that learns in it stores the action it chose,
    `"action_ref"`, not the action taken.

    Args:
        env: with Box actions of one axis and Box observations.
        constraint: None for the environment's own, from `env.unwrapped.action_constraint()`.
        settings: of the repair.

    Raises:
        TypeError: if the spaces are others, or the environment has no constraint and none is
            passed.
        ValueError: if the constraint is on actions of another size, or a wrapper changes the
            actions or observations that the environment's own constraint is made for.

    Example:
        >>> import gymnasium as gym
        >>> import safe_envs
        >>> from safe_envs.action_constraints import RepairedActions
        >>> env = RepairedActions(gym.make("Safe/DoubleIntegrator-v0"))
        >>> _ = env.reset(options={"state": [14.0, 1.35]})  # 1 m from the side
        >>> info = env.step([1.0])[4]
        >>> bool(info["repair_active"]), info["action_safe"].round(3).tolist()
        (True, [-0.333])
    """

    def __init__(
        self,
        env: gym.Env,
        constraint: ActionConstraint | None = None,
        settings: RepairSettings = DEFAULT_SETTINGS,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, constraint=constraint, settings=settings)
        gym.Wrapper.__init__(self, env)
        self._box = checked_spaces(env.action_space, env.observation_space)
        if constraint is None:
            constraint = _own_constraint(env.unwrapped)
            check_unchanged(env)
        check_size(constraint, self._box)
        self.constraint = constraint
        self.settings = settings
        self._observation: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._observation = kept(observation)
        return observation, info | no_repair(self._box.shape)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Repair the action and take it."""
        if self._observation is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        given = checked_box(action, self._box)
        seen = np.asarray(self._observation)[None]
        repaired = repair_actions(self.constraint, seen, given[None], self.settings)
        taken = repaired.actions[0]
        active = not np.array_equal(taken, given)
        outcome = self.env.step(taken.copy() if active else action)
        observation, reward, terminated, truncated, info = outcome
        self._observation = kept(observation)
        entries = repair_entries(given[None], repaired)
        info = info | {key: values[0] for key, values in entries.items()}
        return observation, reward, terminated, truncated, info


def repair_entries(given: np.ndarray, repaired: ActionRepair) -> dict[str, np.ndarray]:
    """Return the info entries of B repairs, one row each.

    Args:
        given: the actions, (B, n).
        repaired: what became of them.
    """
    proposed = np.array(given, dtype=np.float64)
    change = repaired.actions - proposed
    return {
        "action_ref": proposed,
        "action_safe": repaired.actions,
        "repair_active": (change != 0.0).any(axis=1),
        "repair_correction": np.sqrt((change * change).sum(axis=1)),
        "repair_feasible": repaired.feasible,
    }


def no_repair(shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the info entries before any step, for actions of this shape."""
    return {
        "action_ref": np.zeros(shape),
        "action_safe": np.zeros(shape),
        "repair_active": np.bool_(False),
        "repair_correction": np.float64(0.0),
        "repair_feasible": np.bool_(True),
    }


def checked_spaces(actions: gym.Space, observations: gym.Space) -> gym.spaces.Box:
    """Return the space of actions; TypeError unless both are boxes, that of actions of one axis."""
    if not isinstance(actions, gym.spaces.Box) or len(actions.shape) != 1:
        raise TypeError(f"the repair needs a Box action space with one axis; this one is {actions}")
    if not isinstance(observations, gym.spaces.Box):
        raise TypeError(f"the repair needs a Box observation space; this one is {observations}")
    return actions


def _own_constraint(inner: gym.Env) -> ActionConstraint:
    if not isinstance(inner, OffersActionConstraint):
        raise TypeError(
            f"{inner} has no method action_constraint(); pass an ActionConstraint, or use an "
            "environment that has one"
        )
    return inner.action_constraint()


def check_unchanged(env: Any) -> None:
    """Raise ValueError if a wrapper changes the actions or observations of an environment.

    Of wrappers of other packages this is only known if the spaces change; a warning names them.

    Args:
        env: single, or in native vector form. Its own constraint is made for the actions and
            observations of `env.unwrapped`.
    """
    kinds_of = {"observations": OBSERVATION_WRAPPERS, "actions": ACTION_WRAPPERS}
    pairs = zip(single_spaces(env.unwrapped), single_spaces(env), strict=True)
    for (what, kinds), (own, shown) in zip(kinds_of.items(), pairs, strict=True):
        changed = f" to {shown}" if shown != own else ""
        if changed or any(isinstance(one, kinds) for one in _chain(env)):
            raise ValueError(
                f"a wrapper changes the environment's {what}{changed}; repair the actions of the "
                "environment first and put that wrapper around the repair"
            )
    for one in _chain(env):
        kind = type(one)
        if kind.__module__.partition(".")[0] not in LEAVE_BOTH_ALONE:
            warnings.warn(
                f"{kind.__name__} is between the repair and the environment; the repair is right "
                "if this wrapper leaves actions and observations as they are",
                UserWarning,
                stacklevel=3,
            )


def single_spaces(env: Any) -> tuple[gym.Space, gym.Space]:
    """Return the spaces of observations and actions of one environment, also of a vector form."""
    single = "single_" if hasattr(env.unwrapped, "single_action_space") else ""
    return getattr(env, f"{single}observation_space"), getattr(env, f"{single}action_space")


def _chain(env: Any) -> Iterator[Any]:
    """Yield an environment and those inside of it, down to the innermost."""
    while env is not env.unwrapped:
        yield env
        env = env.env


def check_size(constraint: ActionConstraint, box: gym.spaces.Box) -> None:
    """Raise ValueError unless the constraint is on actions of this space."""
    if constraint.low.shape != box.shape:
        raise ValueError(
            f"the constraint is on {len(constraint.low)} numbers, and actions have {box.shape[0]}; "
            "pass a constraint on the environment's actions"
        )
