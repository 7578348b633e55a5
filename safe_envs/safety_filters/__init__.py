"""Safety filters: the nearest safe action, in the Euclidean or a curvature-guided metric."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from safe_envs.filter_parts import HOMES
from safe_envs.safety_filters.barriers import AffineBarrier
from safe_envs.safety_filters.filter_plant import FilterPlant
from safe_envs.safety_filters.filter_wrapper import CERTIFIED_SLACK, SafetyFilter
from safe_envs.safety_filters.metrics import floored
from safe_envs.safety_filters.quadratic_program import (
    STATUSES,
    Projection,
    Weight,
    project,
    weight_of,
)
from safe_envs.safety_filters.vector_filter import (
    ProjectionBatch,
    VectorSafetyFilter,
    filter_batch,
)

if TYPE_CHECKING:
    from safe_envs.filter_parts import *  # noqa: F403

__all__ = [
    "CERTIFIED_SLACK",
    "STATUSES",
    "AffineBarrier",
    "FilterPlant",
    "Projection",
    "ProjectionBatch",
    "SafetyFilter",
    "VectorSafetyFilter",
    "Weight",
    "filter_batch",
    "floored",
    "project",
    "weight_of",
    *HOMES,
]


def __getattr__(name: str) -> Any:
    """Return a part that is made for one environment, imported when it is first asked for."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
