"""Constraint layers: networks whose outputs are feasible, in supervised problems and as heads."""

from agents.constraint_layers.layers import (
    AffineLayer,
    HalfSpaceLayer,
    IntervalLayer,
    LayerInfo,
    RepairLayer,
)
from agents.constraint_layers.null_space import NullSpaceHead
from agents.constraint_layers.output_rows import FunctionRows, OutputRows, function_constraint
from agents.constraint_layers.penalties import SoftPenalty
from agents.constraint_layers.projection import ProjectionLayer
from agents.constraint_layers.relaxation import AdaptiveRelaxation, largest_violations
from safe_envs.action_constraints.repair import RepairSettings
from safe_envs.action_constraints.rows import QuadraticRows

__all__ = [
    "AdaptiveRelaxation",
    "AffineLayer",
    "FunctionRows",
    "HalfSpaceLayer",
    "IntervalLayer",
    "LayerInfo",
    "NullSpaceHead",
    "OutputRows",
    "ProjectionLayer",
    "QuadraticRows",
    "RepairLayer",
    "RepairSettings",
    "SoftPenalty",
    "function_constraint",
    "largest_violations",
]
