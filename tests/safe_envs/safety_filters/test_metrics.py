"""What metrics resolve to, and what is refused."""

import numpy as np
import pytest

from safe_envs.safety_filters.filter_plant import FilterPlant
from safe_envs.safety_filters.metrics import resolved_metric

FOUR = (np.zeros(4), np.ones(4))
CURVED = np.diag([1.0, 2.0, 3.0, 4.0])
KNOWING = FilterPlant(*FOUR, metrics={"lqr": lambda: CURVED, "fqi": lambda: np.eye(4)})
BARE = FilterPlant(-np.ones(1), np.ones(1))


def test_unknown_metrics_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match="'ppo' is not known .*; pass .*'lqr', 'fqi'"):
        resolved_metric("ppo", KNOWING)
    with pytest.raises(ValueError, match="did you mean 'euclidean'"):
        resolved_metric("euclidian", KNOWING)
    with pytest.raises(ValueError, match="'lqr' is not known .*; pass 'euclidean', a matrix"):
        resolved_metric("lqr", BARE)
    with pytest.raises(ValueError, match=r"metric has shape \(2, 2\)"):
        resolved_metric(np.eye(2), KNOWING)
    with pytest.raises(TypeError, match="metric is None; pass 'euclidean', 'lqr', 'fqi', a matrix"):
        resolved_metric(None, KNOWING)
    with pytest.raises(ValueError, match="slack_weight is 0.0; pass a positive number"):
        resolved_metric("euclidean", KNOWING, 0.0)


def test_names_matrices_and_functions_give_the_same_weights():
    state, reference = np.arange(3.0), np.zeros(4)
    states, references = np.tile(state, (5, 1)).T, np.zeros((4, 5))
    weights = [
        resolved_metric(metric, KNOWING, 10.0)
        for metric in ("lqr", CURVED, CURVED.tolist(), lambda state, reference: CURVED)
    ]
    first = weights[0].at(state, reference)
    np.testing.assert_allclose(first.hessian, np.diag([0.4, 0.8, 1.2, 1.6, 10.0]))
    for each in weights:
        np.testing.assert_allclose(each.at(state, reference).hessian, first.hessian)
    assert weights[1].batch(states, references) is weights[1].at(state, reference)
    np.testing.assert_allclose(weights[3].batch(states, references)(2).hessian, first.hessian)
    assert np.array_equal(resolved_metric("euclidean", KNOWING).metric, np.eye(4))
