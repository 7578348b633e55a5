"""Constraints on single actions, and repairs that make actions meet them."""

from safe_envs.action_constraints.action_constraint import ActionConstraint, OffersActionConstraint
from safe_envs.action_constraints.exact import Exact, half_space, interval
from safe_envs.action_constraints.repair import Repaired, RepairSettings, repair
from safe_envs.action_constraints.rows import QuadraticRows, residual, violation

__all__ = [
    "ActionConstraint",
    "Exact",
    "OffersActionConstraint",
    "QuadraticRows",
    "RepairSettings",
    "Repaired",
    "half_space",
    "interval",
    "repair",
    "residual",
    "violation",
]
