"""Safety filters: the nearest safe action, in the Euclidean or a curvature-guided metric."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from safe_envs.safety_filters.barriers import (
    AffineBarrier,
    SphereRows,
    SphereZCBF,
    double_integrator_barrier,
)
from safe_envs.safety_filters.filter_wrapper import CERTIFIED_SLACK, SafetyFilter
from safe_envs.safety_filters.metrics import floored, hover_metric
from safe_envs.safety_filters.quadratic_program import Projection, Weight, project, weight_of

if TYPE_CHECKING:
    from safe_envs.quadrotor.filtered.action_value import FittedQ, StateMetric
    from safe_envs.quadrotor.filtered.vector_filter import (
        ProjectionBatch,
        VectorSafetyFilter,
        filter_batch,
    )

__all__ = [
    "CERTIFIED_SLACK",
    "AffineBarrier",
    "FittedQ",
    "Projection",
    "ProjectionBatch",
    "SafetyFilter",
    "SphereRows",
    "SphereZCBF",
    "StateMetric",
    "VectorSafetyFilter",
    "Weight",
    "double_integrator_barrier",
    "filter_batch",
    "floored",
    "hover_metric",
    "project",
    "weight_of",
]

HOMES = {  # imported when first asked for
    "FittedQ": "action_value",
    "StateMetric": "action_value",
    "ProjectionBatch": "vector_filter",
    "VectorSafetyFilter": "vector_filter",
    "filter_batch": "vector_filter",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(f"safe_envs.quadrotor.filtered.{HOMES[name]}"), name)
