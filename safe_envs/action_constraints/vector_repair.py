"""The repair of actions for many environments at once."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from safe_envs.action_constraints.action_constraint import ActionConstraint, OffersActionConstraint
from safe_envs.action_constraints.repair import RepairSettings
from safe_envs.action_constraints.repaired_actions import (
    DEFAULT_SETTINGS,
    check_size,
    check_unchanged,
    checked_spaces,
    no_repair,
    repair_actions,
    repair_entries,
)
from safe_envs.contract.action_checks import checked_batch
from safe_envs.contract.transition_values import kept
from safe_envs.contract.vector_wrapper import (
    NativeVectorWrapper,
    VectorWrapper,
    add_at_reset,
    add_at_step,
)


class VectorRepairedActions(NativeVectorWrapper, VectorWrapper):
    """`RepairedActions` around the native vector form of an environment.

    Each environment gets what a `RepairedActions` around it would give. Infos hold the same keys,
    as arrays (N, ...) with their masks.

    Args:
        env: a native vector form with a method `action_constraint`.
        constraint: None for the environment's own.
        settings: of the repair.

    Raises:
        TypeError: if the environment does not offer the method.
        ValueError: if the constraint does not fit the actions, or a wrapper changes actions or
            observations.
    """

    def __init__(
        self,
        env: gym.vector.VectorEnv,
        constraint: ActionConstraint | None = None,
        settings: RepairSettings = DEFAULT_SETTINGS,
    ) -> None:
        inner = env.unwrapped
        if not isinstance(inner, OffersActionConstraint):
            raise TypeError(
                f"this wrapper needs a native vector form with the method action_constraint(), and "
                f"{inner} has none; use gymnasium.vector.SyncVectorEnv over environments in "
                "RepairedActions"
            )
        self._box = checked_spaces(env.single_action_space, env.single_observation_space)
        if constraint is None:
            constraint = inner.action_constraint()
            check_unchanged(env)
        check_size(constraint, self._box)
        super().__init__(env)
        self.constraint = constraint
        self.settings = settings
        self._observations: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._observations = kept(observations)
        add_at_reset(no_repair(self._box.shape), infos, self.env.num_envs)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Repair the actions and take them."""
        if self._observations is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        given = checked_batch(actions, self.env.single_action_space, self.env.num_envs)
        repaired = repair_actions(self.constraint, self._observations, given, self.settings)
        outcome = self.env.step(repaired.actions.copy())
        self._observations, infos = kept(outcome[0]), outcome[4]
        values = repair_entries(given, repaired)
        add_at_step(values, no_repair(self._box.shape), infos)
        return outcome
