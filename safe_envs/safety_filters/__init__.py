"""Safety filters: the nearest safe action, in the Euclidean or a curvature-guided metric."""

from safe_envs.safety_filters.action_value import FittedQ, StateMetric
from safe_envs.safety_filters.barriers import (
    AffineBarrier,
    SphereRows,
    SphereZCBF,
    double_integrator_barrier,
)
from safe_envs.safety_filters.batch_filter import (
    ProjectionBatch,
    VectorSafetyFilter,
    filter_batch,
)
from safe_envs.safety_filters.filter_wrapper import CERTIFIED_SLACK, SafetyFilter
from safe_envs.safety_filters.metrics import floored, hover_metric
from safe_envs.safety_filters.quadratic_program import Projection, Weight, project, weight_of

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
