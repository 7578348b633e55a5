"""Solvers on tables in float32 and in sparse form, and the summaries of what they return."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from agents.tabular import SolverTrace, linear_program, ppqa_alm, pqa_alm
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.deep_sea_treasure import deep_sea_treasure_model
from safe_envs.tabular.random_cmdp import random_cmdp

RANDOM = random_cmdp(9, 3, constraints=2, seed=4, branching=3)


def one_hot_ppqa_alm(cmdp, evaluations):
    return ppqa_alm(cmdp, evaluations, features="one_hot")


def test_sparse_tables_give_the_same_results():
    tables = {
        "P": [sparse.csc_array(RANDOM.P[:, action]) for action in range(3)],
        "reward": sparse.csr_matrix(RANDOM.reward),
        "costs": [sparse.coo_matrix(cost) for cost in RANDOM.costs],
    }
    found = replace(RANDOM, **tables)
    for solver in (pqa_alm, one_hot_ppqa_alm):
        ours, theirs = solver(RANDOM, 60), solver(found, 60)
        for name in ("value", "violation", "multipliers", "policy"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for ours, theirs in zip(linear_program(RANDOM), linear_program(found), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("model", [cliff_world_model, deep_sea_treasure_model])
def test_float32_tables_give_results_within_their_rounding(model):
    cmdp = model()
    names = ("P", "reward", "costs", "initial", "limits")
    found = replace(cmdp, **{name: getattr(cmdp, name).astype(np.float32) for name in names})
    ours, theirs = linear_program(found), linear_program(cmdp)
    assert ours.value == pytest.approx(theirs.value, rel=1e-6)
    assert ours.multipliers == pytest.approx(theirs.multipliers, rel=1e-5)
    trace = pqa_alm(found, 1_500)
    assert trace.tail_error(ours.value) < 1e-9


def test_prints_a_short_summary():
    assert str(linear_program(cliff_world_model())) == (
        "Optimum: value 0.5334; cost 0.175; multiplier 0.7943; 21 states, 4 actions"
    )
    rows = {
        "value": np.array([0.1, 12345.678]),
        "violation": np.array([[1.0, 1.0], [-0.25, 1e-12]]),
        "multipliers": np.array([[0.0, 0.0], [0.0, 1 / 3]]),
        "policy": np.full((5, 2), 0.5),
    }
    assert repr(SolverTrace(**rows)) == (
        "SolverTrace: 2 evaluations, the last: value 1.235e+04; violations -0.25, 1e-12 "
        "(feasible); multipliers 0, 0.3333; 5 states, 2 actions"
    )
    too_much = rows | {"violation": np.array([[0.0, 0.0], [-0.25, 1e-3]])}
    assert "violations -0.25, 0.001 (not feasible);" in repr(SolverTrace(**too_much))
