"""Metrics of the filter: how much a change of each entry of u costs.

The right weight W is minus the Hessian of the action's value at the
reference (Lin and Xu, arXiv 2602.12603, equation 6). "euclidean" is the identity. Other names are
those of metrics that the environment knows: by convention "lqr" is that Hessian in closed form,
from a linear model and a quadratic reward, and "fqi" is that Hessian learned from recorded steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safe_envs.contract.argument_checks import check_positive, checked_array, closest_hint
from safe_envs.safety_filters.filter_plant import (
    FilterPlant,
    MetricFunction,
    MetricWeights,
    PlantMetric,
    WeightAt,
)
from safe_envs.safety_filters.quadratic_program import (
    SLACK_WEIGHT,
    Weight,
    trusted_weight,
    weight_of,
)

Metric = str | np.ndarray | MetricFunction | PlantMetric
EUCLIDEAN = "euclidean"
SMALLEST_SHARE = 0.1  # of the largest eigenvalue, to which smaller ones are raised


def resolved_metric(
    metric: Metric, plant: FilterPlant, slack_weight: float = SLACK_WEIGHT
) -> MetricWeights:
    """Return the metric, prepared for the program.

    Args:
        metric: a name, a matrix, a metric made for the plant, or a function of state and reference.
        plant: what is filtered.
        slack_weight: rho, the price of a violated row.

    Raises:
        ValueError: if the name is unknown, the metric is made for another plant, the matrix has
            the wrong shape, is not finite or has no positive eigenvalue, or the slack weight is
            not positive.
        TypeError: if it is none of these.
    """
    check_positive(slack_weight=slack_weight)
    count = len(plant.low)
    if isinstance(metric, str):
        return ConstantMetric(_named_matrix(metric, plant), slack_weight)
    if isinstance(metric, PlantMetric):
        return metric.weights_on(plant, slack_weight)
    if isinstance(metric, np.ndarray | list | tuple):
        matrix = floored(checked_array("metric", metric, (count, count)))
        return ConstantMetric(matrix, slack_weight)
    if callable(metric):
        return FunctionMetric(metric, slack_weight)
    raise TypeError(f"metric is {metric!r}; {_allowed(plant)}")


@dataclass(frozen=True, eq=False)
class ConstantMetric:
    """One matrix for all states.

    Args:
        metric: W, (m, m), symmetric and positive definite.
        slack_weight: rho.

    Raises:
        ValueError: if it is not such a matrix.
    """

    metric: np.ndarray
    slack_weight: float
    weight: Weight = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", weight_of(self.metric, self.slack_weight))

    def at(self, state: np.ndarray, reference: np.ndarray) -> Weight:
        """Return the one weight."""
        return self.weight

    def batch(self, states: np.ndarray, references: np.ndarray) -> Weight | WeightAt:
        """Return the one weight."""
        return self.weight


@dataclass(frozen=True, eq=False)
class FunctionMetric:
    """A matrix for every state and reference, its eigenvalues floored.

    Args:
        metric: the function, whose results are checked.
        slack_weight: rho.
    """

    metric: MetricFunction
    slack_weight: float

    def at(self, state: np.ndarray, reference: np.ndarray) -> Weight:
        """Return the weight in one state.

        Raises:
            ValueError: if the matrix has the wrong shape, is not finite or has no positive
                eigenvalue.
        """
        given, shape = self.metric(state, reference), (len(reference), len(reference))
        matrix = floored(checked_array("the metric function's result", given, shape))
        return trusted_weight(matrix, self.slack_weight)

    def batch(self, states: np.ndarray, references: np.ndarray) -> Weight | WeightAt:
        """Return a function that gives the weight in the i-th state."""
        return lambda i: self.at(states[:, i].copy(), references[:, i].copy())


def _named_matrix(name: str, plant: FilterPlant) -> np.ndarray:
    if name == EUCLIDEAN:
        return np.eye(len(plant.low))
    if name not in plant.metrics:
        hint = closest_hint(name, (EUCLIDEAN, *plant.metrics))
        raise ValueError(f"metric {name!r} is not known here; {hint}{_allowed(plant)}")
    return floored(plant.metrics[name]())


def _allowed(plant: FilterPlant) -> str:
    count, names = len(plant.low), ", ".join(map(repr, (EUCLIDEAN, *plant.metrics)))
    return (
        f"pass {names}, a matrix ({count}, {count}) such as minus the Hessian of the action's "
        "value, a function of state and reference, or a metric made for the environment"
    )


def floored(metric: np.ndarray, share: float = SMALLEST_SHARE) -> np.ndarray:
    """Return the symmetric part of a metric, its eigenvalues raised to a share of the largest.

    Raises:
        ValueError: if no eigenvalue is positive.
    """
    eigenvalues, vectors = np.linalg.eigh(0.5 * (metric + metric.T))
    if not eigenvalues[-1] > 0.0:
        raise ValueError(
            f"the metric has no positive eigenvalue: {eigenvalues.tolist()}; pass minus "
            "the Hessian of the value, not the Hessian"
        )
    raised = np.maximum(eigenvalues, share * eigenvalues[-1])
    return (vectors * raised) @ vectors.T
