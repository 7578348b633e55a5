import numpy as np
import pytest

from agents.tabular import linear_program, pqa_alm, random_policy
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.deep_sea_treasure import deep_sea_treasure_model
from safe_envs.tabular.random_cmdp import random_cmdp

GRIDS = {"cliff": cliff_world_model, "deep sea": deep_sea_treasure_model}
FIXED = {"step_rule": "fixed", "step_size": 1.0, "penalty": 10.0, "primal_steps": 20}


@pytest.mark.parametrize("name", GRIDS)
def test_the_papers_fixed_step_converges_on_both_grids(name):
    cmdp = GRIDS[name]()
    optimum = linear_program(cmdp)
    trace = pqa_alm(cmdp, 8_000, **FIXED)
    errors = trace.errors(optimum.value)
    assert errors[999] < 5e-4
    assert errors[-1] < 1e-9
    assert trace.tail_error(optimum.value) < 1e-9
    assert trace.multipliers[-1] == pytest.approx(optimum.multipliers, abs=1e-6)


def test_the_fixed_step_reproduces_the_published_course():
    """Gap and violation after 100 and 1,000 evaluations, measured by another implementation."""
    cmdp = cliff_world_model()
    trace = pqa_alm(cmdp, 1_000, **FIXED)
    gap = linear_program(cmdp).value - trace.value
    assert (gap[99], trace.violation[99, 0]) == pytest.approx((-1.4e-2, 1.7e-2), abs=6e-4)
    assert (gap[999], trace.violation[999, 0]) == pytest.approx((5.3e-5, -6.7e-5), abs=6e-7)


def test_the_fixed_step_falls_into_a_limit_cycle_on_a_dense_random_cmdp():
    """Every 60 evaluations (three dual steps) the same values come back, far from the optimum."""
    cmdp = random_cmdp(15, 3, constraints=2, seed=3)
    optimum = linear_program(cmdp)
    trace = pqa_alm(cmdp, 2_000, **FIXED, units="given")
    np.testing.assert_allclose(trace.value[-1_000:], trace.value[-1_060:-60], rtol=0, atol=1e-9)
    assert np.ptp(trace.value[-60:]) > 1.0
    assert trace.tail_error(optimum.value) > 1.0
    assert pqa_alm(cmdp, 2_000).tail_error(optimum.value) < 1e-9


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(("start", "evaluations"), [(None, 10_000), (1, 2_000), (2, 2_000)])
def test_the_monotone_step_converges_on_both_grids(name, start, evaluations):
    cmdp = GRIDS[name]()
    optimum = linear_program(cmdp)
    policy = None if start is None else random_policy(cmdp, start)
    trace = pqa_alm(cmdp, evaluations, initial_policy=policy)
    assert trace.tail_error(optimum.value) < 1e-9
    assert trace.multipliers[-1] == pytest.approx(optimum.multipliers, abs=1e-6)


@pytest.mark.parametrize("name", GRIDS)
def test_the_monotone_step_converges_with_a_constraint_per_hazard(name):
    cmdp = GRIDS[name](per_constraint=True)
    trace = pqa_alm(cmdp, 2_000)
    assert trace.tail_error(linear_program(cmdp).value) < 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_the_monotone_step_needs_no_tuning(seed):
    """20 random CMDPs of 8 to 39 states, 2 to 5 actions, 1 to 3 constraints; one setting."""
    cmdp = random_cmdp(8 + 7 * seed % 32, 2 + seed % 4, constraints=1 + seed % 3, seed=seed)
    optimum = linear_program(cmdp)
    trace = pqa_alm(cmdp, 1_500)  # the tail is over the last fifth, from evaluation 1,200 on
    assert trace.tail_error(optimum.value) < 1e-9
    assert trace.multipliers[-1] == pytest.approx(optimum.multipliers, abs=1e-6)


@pytest.mark.parametrize("step_rule", ["monotone", "fixed"])
@pytest.mark.parametrize("evaluations", [1, 2, 157])
def test_the_last_policy_belongs_to_the_last_row(step_rule, evaluations):
    cmdp = cliff_world_model(per_constraint=True)
    trace = pqa_alm(cmdp, evaluations, step_rule=step_rule)
    assert trace.value.shape == (evaluations,)
    assert trace.violation.shape == trace.multipliers.shape == (evaluations, 3)
    evaluation = cmdp.evaluate(trace.policy)
    assert evaluation.value == trace.value[-1]
    np.testing.assert_array_equal(evaluation.costs - cmdp.limits, trace.violation[-1])
    np.testing.assert_allclose(trace.policy.sum(axis=1), 1.0, atol=1e-12)
    assert (trace.policy >= 0).all()


def test_the_budget_counts_every_evaluation(monkeypatch):
    cmdp = random_cmdp(10, 3, seed=0)
    calls = []
    evaluate = type(cmdp).evaluate

    def counted(self, policy, extra=None):
        calls.append(policy)
        return evaluate(self, policy, extra)

    monkeypatch.setattr(type(cmdp), "evaluate", counted)
    pqa_alm(cmdp, 300)
    assert len(calls) == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step_rule": "adaptive"}, "step_rule is 'adaptive'; pass one of 'monotone', 'fixed'"),
        ({"step_size": 0.0}, "step_size is 0.0; pass a positive number"),
        ({"penalty": -1.0}, "penalty is -1.0; pass a positive number"),
        ({"primal_steps": 0}, "primal_steps is 0"),
        ({"evaluations": 0}, "evaluations is 0; pass a whole number >= 1"),
        ({"initial_policy": np.ones((21, 4))}, "is not a policy of this CMDP; pass an array of"),
        ({"initial_policy": np.ones((4, 21)) / 21}, r"shape \(4, 21\) is not a policy"),
    ],
)
def test_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pqa_alm(cliff_world_model(), **arguments)
