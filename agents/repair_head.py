"""The head of a policy: it repairs the actions of a policy before they are taken.

    taken = R(proposed; observation),   log-probability and gradient: those of `proposed`

R is the repair of `safe_envs.action_constraints` for the constraint that the environment declares
by `action_constraint()`. For the agent the repair is a part of the environment, so that its
gradient is exact: a repaired Gaussian has no density. Repairing the mean and adding noise instead
would break the constraint.

Source: the report on differentiable optimization layers, and Min and Azizan, "HardNet" (arXiv
2410.10807), whose layers are used here as heads.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from agents.gymnasium_vec_env import GymnasiumVecEnv
from agents.innermost_envs import wrapped_envs
from safe_envs.action_constraints.action_constraint import (
    ActionConstraint,
    OffersActionConstraint,
)
from safe_envs.action_constraints.nearest import nearest_actions, worst_violation
from safe_envs.action_constraints.repair import RepairSettings
from safe_envs.action_constraints.repaired_actions import (
    check_size,
    check_unchanged,
    checked_spaces,
    each_instance,
    repair_actions,
    repair_entries,
    single_spaces,
    some_instances,
)
from safe_envs.action_constraints.rows import QuadraticRows
from safe_envs.contract.argument_checks import check_choice

Head = Literal["wrapper", "differentiable"] | None
HEADS = ("wrapper", "differentiable")
SETTINGS = RepairSettings()
COMPARED = 16  # observations at which the constraints of two copies have to be the same


def checked_head(head: Any, differentiates: bool) -> Head:
    """Return the name of a head, or None.

    Args:
        head: as given.
        differentiates: whether the agent can learn through a head.

    Raises:
        ValueError: if it is another, or one that the agent cannot have.
    """
    if head is not None:
        check_choice("head", head, HEADS)
    if head == "differentiable" and not differentiates:
        raise ValueError(
            "head is 'differentiable', but this agent learns from the log-probability of the "
            "proposed action, which no gradient of the repair enters; pass 'wrapper' (only SCPO "
            "has a loss of the action taken)"
        )
    return head


def argument_of_policy(head: Head, policy_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the argument by which a policy gets its head, {} without one.

    Raises:
        ValueError: if the policy's own arguments ask for one, where no one sees it.
    """
    if "head" in policy_kwargs:
        raise ValueError("policy_kwargs has 'head'; pass head to the agent itself")
    return {} if head is None else {"head": head}


def check_same_head(theirs: Any, ours: Head) -> None:
    """Raise ValueError if a policy that repairs its actions is taken over by one that does not."""
    if theirs is not None and ours is None:
        raise ValueError(
            f"the source repairs its actions (head={theirs!r}), and the agent would take the ones "
            "it proposes; make the agent with a head, too"
        )


class RepairHead:
    """Repairs actions by what the policy observes.

    Args:
        observation_space: of the environment; a Box.
        action_space: of the environment; a Box with one axis.

    Attributes:
        observed: the space of observations.
        constraint: on the actions; None until environments are known.
        entries: of the last repairs, by the names of `RepairedActions`, arrays (N, ...).

    Raises:
        TypeError: if the spaces are others.
    """

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self._box = checked_spaces(action_space, observation_space)
        assert isinstance(observation_space, spaces.Box)
        self.observed = observation_space
        self.constraint: ActionConstraint | None = None
        self.entries: dict[str, np.ndarray] = {}

    def attach(self, venv: VecEnv) -> None:
        """Take the constraint of environments; the policy may then act in these.

        Raises:
            TypeError: if they offer none.
            ValueError: if a wrapper changes actions or observations, or the copies differ.
        """
        self.constraint = self._constraint_of(venv)

    def repaired(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Return the actions to take, (N, n) float64.

        Args:
            observations: of the environment, (N, ...).
            actions: of the environment, within their bounds, (N, n).

        Raises:
            RuntimeError: if no environments were attached.
        """
        if self.constraint is None:
            raise RuntimeError(
                "the policy repairs its actions by a constraint that its environment declares, and "
                "has no environment; pass env to load, or call agent.set_env(env)"
            )
        found = repair_actions(self.constraint, np.asarray(observations), actions, SETTINGS)
        self.entries = repair_entries(actions, found)
        return found.actions

    def repaired_tensor(self, observations: np.ndarray, actions: torch.Tensor) -> torch.Tensor:
        """Return the actions to take, (N, n), with the gradient of the repair.

        Where a single linear row decides, or an interval, it is the gradient of the projection;
        elsewhere that of all steps of the repair. Rows that are linearized at the actions count as
        constant.

        Args:
            observations: of the environment, (N, ...).
            actions: of the environment, finite, (N, n).
        """
        assert self.constraint is not None, "the agent attached its environments"
        low, high = (torch.as_tensor(side) for side in (self.constraint.low, self.constraint.high))
        raw = actions.double().cpu().clamp(low, high)
        found = self.constraint.rows_at(observations, raw.detach().numpy())
        if not found.lower.size:
            return raw.to(actions)
        rows = QuadraticRows(*map(_tensor, each_instance(found, len(raw))))
        broken = torch.nonzero(worst_violation(rows, raw.detach()) > 0.0)[:, 0]
        if len(broken):
            own = some_instances(rows, broken)
            nearest = nearest_actions(raw[broken], own, low, high, SETTINGS)
            raw = raw.index_put((broken,), nearest)
        return raw.to(actions)

    def told(self, infos: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Return the entries of the last repairs, added to the infos of the step they led to.

        Entries that the environment gave stay: those of a filter or a repair inside of it tell
        which action was taken in the end.
        """
        for row, info in enumerate(infos):
            for key, values in self.entries.items():
                info.setdefault(key, values[row])
        return self.entries

    def _constraint_of(self, venv: VecEnv) -> ActionConstraint:
        normalizer = unwrap_vec_normalize(venv)
        if normalizer is not None and normalizer.norm_obs:
            raise ValueError(
                "a VecNormalize standardizes the observations, from which the head takes its "
                "constraint; pass VecNormalize(..., norm_obs=False): the agent standardizes them "
                "itself"
            )
        copies = wrapped_envs(venv)
        if isinstance(venv.unwrapped, GymnasiumVecEnv):
            check_unchanged(venv.unwrapped.venv)
        for one in copies:
            if not isinstance(one.unwrapped, OffersActionConstraint):
                raise TypeError(
                    f"head needs environments of this process with a method action_constraint(), "
                    f"and {one} is none; leave head out, or see "
                    "safe_envs.action_constraints.ActionConstraint"
                )
            check_unchanged(one)
        single = single_spaces(copies[0])
        if (self.observed, self._box) != single:
            raise ValueError(
                f"a wrapper of VecEnv changes the environment's observations or actions: the agent "
                f"sees {self.observed} and answers with {self._box}, the environment has {single}; "
                "train without that wrapper"
            )
        first, *others = (one.unwrapped.action_constraint() for one in copies)
        check_size(first, self._box)
        if not all(self._same(first, other) for other in others):
            raise ValueError(
                "the copies of the environment have different constraints on actions, and the "
                "policy does not observe which one it acts in; train in copies that are alike"
            )
        return first

    def _same(self, one: ActionConstraint, other: ActionConstraint) -> bool:
        space = copy.deepcopy(self.observed)
        space.seed(0)
        seen = np.stack([space.sample() for _ in range(COMPARED)])
        pairs = zip(one.rows(seen), other.rows(seen), strict=True)
        alike = all(a is b or np.array_equal(a, b, equal_nan=True) for a, b in pairs)
        return alike and np.array_equal(one.low, other.low) and np.array_equal(one.high, other.high)


def _tensor(numbers: np.ndarray | None) -> torch.Tensor | None:
    return None if numbers is None else torch.tensor(numbers)


def head_of(model: object) -> RepairHead | None:
    """Return the head of an agent or a policy that has one."""
    head = getattr(getattr(model, "policy", model), "repair_head", None)
    return head if isinstance(head, RepairHead) else None


@contextmanager
def head_in(model: object, venv: VecEnv) -> Iterator[RepairHead | None]:
    """Let the head of what acts, if it has one, take its constraint from these environments."""
    head = head_of(model)
    if head is None:
        yield None
        return
    before = head.constraint
    head.attach(venv)
    try:
        yield head
    finally:
        head.constraint = before
