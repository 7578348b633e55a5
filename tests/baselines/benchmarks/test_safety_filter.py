"""The programs and states that the safety filter's benchmark times, and what it prints."""

import io
import sys

import numpy as np
import pytest
from rich.console import Console

from baselines.benchmarks import safety_filter
from baselines.benchmarks.filter_against_cvxpy import (
    ALL,
    HIGH,
    LOW,
    ONE_ROW,
    SEVERAL,
    compare,
    kind_of,
    random_programs,
)
from safe_envs.quadrotor.task import CONTROL_DT
from safe_envs.quadrotor.vehicle import CRAZYFLIE
from safe_envs.safety_filters import filter_batch, hover_metric, weight_of
from safe_envs.safety_filters.quadratic_program import solve

WEIGHT = weight_of(hover_metric(CRAZYFLIE, CONTROL_DT))


@pytest.fixture(scope="module")
def programs():
    return random_programs(12, WEIGHT, seed=3)


def test_programs_have_the_filters_shape_and_are_of_their_kind(programs):
    assert {kind: len(group) for kind, group in programs.items()} == {
        ALL: 12,
        ONE_ROW: 12,
        SEVERAL: 12,
    }
    for kind, group in programs.items():
        for program in group:
            assert program.rows.shape == (4, 4)
            assert solve(WEIGHT, *program, LOW, HIGH).active
            assert kind_of(program, WEIGHT) == kind or kind == ALL
    again = random_programs(12, WEIGHT, seed=3)[ALL]
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(again, programs[ALL], strict=True))


@pytest.mark.parametrize("kind", [ONE_ROW, SEVERAL])
def test_solutions_are_those_of_cvxpy(programs, kind):
    pytest.importorskip("cvxpy")
    found = compare(programs[kind], WEIGHT, repeats=1)
    assert found.seconds.shape == (4, 12)
    assert (found.seconds >= 0.0).all()
    assert found.disagreement < 1e-6


def test_samples_are_safe_mixed_and_unsafe():
    met = safety_filter.flown_states("spheres", seed=0, flights=16, every=40, steps=200)
    shares = []
    for chosen in safety_filter.samples(met, WEIGHT, 32):
        parts, share = safety_filter.batch_parts(met, chosen, WEIGHT)
        for part in parts:
            part()
        found = filter_batch(
            met.rows(chosen), WEIGHT, met.states[:, chosen], met.references[:, chosen]
        )
        assert found.active.mean() == share
        shares.append(share)
    assert shares[0] == 0.0
    assert 0.0 < shares[1] < 1.0
    assert shares[2] == 1.0


def test_prints_all_but_the_comparison_without_cvxpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    monkeypatch.setattr(safety_filter, "SCENES", ("spheres",))
    printed = io.StringIO()
    arguments = safety_filter.SafetyFilterArguments(programs=2, repeats=1, steps=20, states=8)
    safety_filter.print_tables(Console(file=printed, width=110), arguments)
    text = printed.getvalue()
    assert 'pip install "safe-envs-agents[dev]"' in text
    assert "filter_batch" in text
    assert "filter_time" in text
