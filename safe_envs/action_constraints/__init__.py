"""Constraints on single actions, and repairs that make actions meet them."""

from safe_envs.action_constraints.action_constraint import ActionConstraint, OffersActionConstraint
from safe_envs.action_constraints.exact import Exact, half_space, interval
from safe_envs.action_constraints.repair import Repaired, RepairSettings, repair
from safe_envs.action_constraints.repaired_actions import (
    ActionRepair,
    RepairedActions,
    repair_actions,
)
from safe_envs.action_constraints.rows import QuadraticRows, at_least, residual, violation
from safe_envs.action_constraints.vector_repair import VectorRepairedActions

__all__ = [
    "ActionConstraint",
    "ActionRepair",
    "Exact",
    "OffersActionConstraint",
    "QuadraticRows",
    "RepairSettings",
    "Repaired",
    "RepairedActions",
    "VectorRepairedActions",
    "at_least",
    "half_space",
    "interval",
    "repair",
    "repair_actions",
    "residual",
    "violation",
]
