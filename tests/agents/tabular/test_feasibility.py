"""Limits that no policy meets: what solvers say of them, against linear programs and algebra."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from agents.tabular import (
    lin_npg_pd,
    lin_ppo_lag,
    lin_reload,
    linear_program,
    npg_dd,
    npg_pd,
    ppo_lag,
    ppqa_alm,
    pqa_alm,
    reload_pd,
    rpg_pd,
)
from agents.tabular.feasibility import TOLERANCE, cheapest, closest_to_limits, cost_units
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.random_cmdp import random_cmdp

SOLVERS = [
    pqa_alm,
    npg_pd,
    rpg_pd,
    npg_dd,
    reload_pd,
    ppo_lag,
    ppqa_alm,
    lin_npg_pd,
    lin_reload,
    lin_ppo_lag,
]
LEAST_OF_CLIFF = 0.16125092633381954  # by an independent linear program


def least_violation(cmdp):
    """min over policies of max_i (V_c - limit) / unit, by phase one of the occupancy program."""
    pairs, m = cmdp.num_states * cmdp.num_actions, cmdp.num_constraints
    flow = np.kron(np.eye(cmdp.num_states), np.ones((1, cmdp.num_actions)))
    flow = flow - cmdp.discount * cmdp.P.reshape(pairs, -1).T
    solution = linprog(
        np.append(np.zeros(pairs), 1.0),
        np.hstack([cmdp.costs.reshape(m, pairs), -cost_units(cmdp)[:, None]]),
        cmdp.limits,
        np.hstack([flow, np.zeros((cmdp.num_states, 1))]),
        cmdp.initial,
        bounds=[(0, None)] * pairs + [(None, None)],
    )
    return solution.fun


def conflicting(limits):
    """Two costs that sum to 1 at every step: V_0 + V_1 = 1 / (1 - discount) = 10."""
    cmdp = random_cmdp(8, 3, constraints=2, seed=3)
    cost = np.where(np.arange(3) == 0, 1.0, 0.0) * np.ones((8, 1))  # of the first action alone
    return replace(cmdp, costs=np.stack([cost, 1.0 - cost]), limits=limits)


@pytest.mark.parametrize("evaluations", [1, 60])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_says_what_the_linear_program_says(solver, evaluations):
    cmdp = cliff_world_model(per_constraint=True, cost_limits=[0.06, 0.0548, 0.0548])
    with pytest.raises(ValueError, match="no policy meets") as of_program:
        linear_program(cmdp)
    assert str(of_program.value) == (
        "no policy meets the limits [0.06, 0.0548, 0.0548]: the lowest possible value of each cost "
        "alone is [0.0607326, 0.0502066, 0.0502023], which is above the limit of 'chasm_1'; raise "
        "the limits"
    )
    with pytest.raises(ValueError, match="no policy meets") as of_solver:
        solver(cmdp, evaluations)
    assert str(of_solver.value) == str(of_program.value)


@pytest.mark.parametrize("unit", [1e-6, 2.0**-20, 1e3, 1e6])
@pytest.mark.parametrize("solver", [linear_program, *SOLVERS])
def test_nearly_feasible_limits_are_refused_in_all_units(solver, unit):
    """Missed by 2e-9 of the largest cost, 1 / (1 - 0.9); 5e-10 of it count as rounding."""
    for shortage, feasible in ((2e-8, False), (5e-9, True)):
        cmdp = cliff_world_model(cost_limits=LEAST_OF_CLIFF - shortage)
        cmdp = replace(cmdp, costs=unit * cmdp.costs, limits=unit * cmdp.limits)
        budget = () if solver is linear_program else (60,)
        if feasible:
            solver(cmdp, *budget)
            continue
        with pytest.raises(ValueError, match="which is above the limit of 'chasm'; raise") as said:
            solver(cmdp, *budget)
        least = float(str(said.value).split("alone is [")[1].split("]")[0])
        shown = least - cmdp.limits[0]  # with as many digits as it takes
        assert shown == pytest.approx(unit * shortage, rel=0.15)


def test_a_large_constant_cost_hides_no_shortage():
    """The tolerance is relative to what policies can change, not to the constant."""
    cmdp = cliff_world_model(cost_limits=LEAST_OF_CLIFF - 1e-6)
    moved = replace(cmdp, costs=cmdp.costs + 1e4, limits=cmdp.limits + 1e5)
    for solver in (linear_program, pqa_alm):
        with pytest.raises(ValueError, match=r"alone is \[100000\.1612\d+\], which is above"):
            solver(moved)


@pytest.mark.parametrize("solver", [pqa_alm, npg_pd])
def test_limits_that_only_exclude_each_other(solver):
    cmdp = conflicting([4.9, 4.9])
    closest = closest_to_limits(cmdp)
    assert closest.costs == pytest.approx([5.0, 5.0], abs=1e-9)
    assert closest.violation == pytest.approx(0.1 / 10.0, abs=1e-12)
    message = (
        r"alone is \[0, 0\], but no policy reaches them all at once; the costs closest to the "
        r"limits are \[5, 5\]"
    )
    for solve in (solver, lambda c, _: linear_program(c)):
        with pytest.raises(ValueError, match=message):
            solve(cmdp, 200)


@pytest.mark.parametrize("seed", range(12))
def test_least_violation_is_that_of_phase_one(seed):
    """Limits between out of reach and just out of reach, with up to five constraints."""
    constraints = 1 + seed % 5
    easy = random_cmdp(6 + seed, 2 + seed % 3, constraints=constraints, seed=seed)
    slack = -least_violation(easy) * cost_units(easy)
    for share in (0.5, 0.999, 1.001, 1.5):  # of the way to the first limits that exclude all
        cmdp = replace(easy, limits=easy.limits - share * slack)
        expected, closest = least_violation(cmdp), closest_to_limits(cmdp)
        assert (closest.violation > TOLERANCE) == (share > 1.0) == (expected > 1e-9)
        if share > 1.0:
            assert closest.violation == pytest.approx(expected, abs=1e-9)
        reached = ((closest.costs - cmdp.limits) / cost_units(cmdp)).max()
        assert reached <= max(expected, 0.0) + 1e-9


@pytest.mark.parametrize("shortage", [0.0, 1e-13, 1e-11, 1e-10, 1e-9])
def test_limits_without_slack_are_solved(shortage):
    """What is missing is rounding: the tolerance is 1e-9 of the largest cost, 1 / (1 - 0.9)."""
    cmdp = cliff_world_model(cost_limits=LEAST_OF_CLIFF - shortage)
    optimum = linear_program(cmdp)
    assert optimum.costs[0] == pytest.approx(LEAST_OF_CLIFF, abs=1e-9)
    for solver in (pqa_alm, npg_pd, lin_reload):
        assert len(solver(cmdp, 60).value) == 60


@pytest.mark.parametrize("limits", [[5.0, 5.0], [0.0, 10.0], [10.0, 0.0], [2.5, 7.5 - 1e-10]])
def test_several_limits_without_slack_are_solved(limits):
    cmdp = conflicting(limits)
    assert linear_program(cmdp).costs == pytest.approx(limits, abs=1e-8)
    assert len(pqa_alm(cmdp, 60).value) == 60


@pytest.mark.parametrize("unit", [2.0**-60, 2.0**60])
@pytest.mark.parametrize("limit", [0.1612, 0.1613])
def test_units_do_not_matter(unit, limit):
    cmdp = cliff_world_model(cost_limits=limit)
    other = replace(cmdp, costs=unit * cmdp.costs, limits=unit * cmdp.limits)
    assert closest_to_limits(other).violation == closest_to_limits(cmdp).violation


@pytest.mark.parametrize(("limits", "feasible"), [([1e30, 5.0], True), ([1e30, -1e30], False)])
def test_limits_far_out_of_reach(limits, feasible):
    closest = closest_to_limits(conflicting(limits))
    assert (closest.violation <= TOLERANCE) == feasible


@pytest.mark.parametrize("discount", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("branching", [None, 3])
def test_cheapest_policy_is_that_of_value_iteration(branching, discount):
    """Of 500 states, where evaluations are sparse, and of 40."""
    states = 40 if branching is None else 500
    cmdp = random_cmdp(states, 3, 2, 0, branching, discount, cost_limits=[1.0, 1.0])
    cost = np.tensordot([0.3, 0.7], cmdp.costs, 1)
    transitions = cmdp.P.reshape(-1, states)
    bound, costs = cheapest(cmdp, np.array([0.3, 0.7]))
    values = np.zeros(states)
    for _ in range(60 if discount < 0.99 else 400):
        q = cost + discount * (transitions @ values).reshape(cost.shape)
        change = q.min(axis=1) - values
        values = q.min(axis=1)
    rest = discount / (1.0 - discount)  # MacQueen's bounds
    low, high = (cmdp.initial @ values + rest * end for end in (change.min(), change.max()))
    assert low - 1e-9 <= bound <= [0.3, 0.7] @ costs + 1e-9
    assert bound <= high + 1e-9
    assert [0.3, 0.7] @ costs <= high + 1e-9
    assert high - low < 0.01


def test_the_examination_is_short_and_early(monkeypatch):
    cmdp = cliff_world_model(cost_limits=0.1)
    calls = []
    evaluate = type(cmdp).evaluate
    monkeypatch.setattr(type(cmdp), "evaluate", lambda *given: calls.append(1) or evaluate(*given))
    with pytest.raises(ValueError, match="no policy meets"):
        pqa_alm(cmdp, 10_000)
    assert 50 < len(calls) < 75


@pytest.mark.parametrize("solver", [linear_program, *SOLVERS])
def test_without_constraints_the_optimum_is_that_of_value_iteration(solver):
    cmdp = random_cmdp(4, 2, constraints=1, seed=0)
    free = replace(cmdp, costs=np.zeros((0, 4, 2)), limits=np.zeros(0), constraint_names=())
    values = np.zeros(4)
    for _ in range(400):  # 0.9^400 = 5e-19
        values = (cmdp.reward + 0.9 * cmdp.P @ values).max(axis=1)
    best = float(cmdp.initial @ values)
    if solver is linear_program:
        optimum = linear_program(free)
        assert optimum.value == pytest.approx(best, rel=1e-9)
        assert optimum.multipliers.shape == (0,)
        return
    own = {"features": "one_hot"} if solver in SOLVERS[-4:] else {}
    assert solver(free, 600, **own).tail_error(best) < 0.02 * best
