import dataclasses

import numpy as np
import pytest

from safe_envs import TabularCMDP
from safe_envs.tabular.cliff_world import cliff_world_model
from safe_envs.tabular.policy_solvers import SparseSolver, sparse_solver_pays
from safe_envs.tabular.random_cmdp import random_cmdp


def some_policy(cmdp, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(cmdp.num_actions), size=cmdp.num_states)


def rolled_forward(cmdp, policy, signal, steps=600):
    """V_f and the occupancy by propagating the state distribution, without a linear solve."""
    distribution, value, occupancy = np.array(cmdp.initial), 0.0, np.zeros(cmdp.num_states)
    moves = np.einsum("sa,sat->st", policy, cmdp.P)
    for t in range(steps):
        weight = cmdp.discount**t
        value += weight * distribution @ (policy * signal).sum(axis=1)
        occupancy += weight * distribution
        distribution = distribution @ moves
    return value, occupancy


@pytest.mark.parametrize("model", ["grid", "dense", "sparse"])
def test_evaluation_equals_rolling_the_distribution_forward(model):
    cmdp = {
        "grid": lambda: cliff_world_model(per_constraint=True),
        "dense": lambda: random_cmdp(30, 3, constraints=2, seed=1),
        "sparse": lambda: random_cmdp(500, 3, constraints=2, seed=1, branching=4),
    }[model]()
    assert sparse_solver_pays(cmdp.P) == (model == "sparse")
    policy = some_policy(cmdp)
    evaluation = cmdp.evaluate(policy)
    value, occupancy = rolled_forward(cmdp, policy, cmdp.reward)
    assert evaluation.value == pytest.approx(value, abs=1e-11)
    np.testing.assert_allclose(evaluation.state_occupancy, occupancy, rtol=0, atol=1e-11)
    for cost, signal in zip(evaluation.costs, cmdp.costs, strict=True):
        assert cost == pytest.approx(rolled_forward(cmdp, policy, signal)[0], abs=1e-11)
    assert occupancy.sum() == pytest.approx(1.0 / (1.0 - cmdp.discount), abs=1e-9)


def test_action_values_satisfy_the_bellman_equation():
    cmdp = random_cmdp(25, 4, constraints=3, seed=2)
    policy = some_policy(cmdp)
    evaluation = cmdp.evaluate(policy, extra=-np.log(policy))
    for q, signal in [
        (evaluation.q_reward, cmdp.reward),
        *zip(evaluation.q_costs, cmdp.costs, strict=True),
        (evaluation.q_extra, -np.log(policy)),
    ]:
        values = (policy * q).sum(axis=1)
        np.testing.assert_allclose(q, signal + cmdp.discount * cmdp.P @ values, atol=1e-12)
    prices = np.array([0.3, 0.0, 2.0])
    priced = evaluation.q_reward - np.tensordot(prices, evaluation.q_costs, 1)
    np.testing.assert_allclose(evaluation.priced_q(prices), priced, atol=1e-12)
    advantage = evaluation.priced_advantage(prices)
    np.testing.assert_allclose((policy * advantage).sum(axis=1), 0.0, atol=1e-12)


def test_occupancy_weighted_q_is_the_gradient():
    """The policy gradient theorem against central differences along feasible directions."""
    cmdp = random_cmdp(12, 3, seed=3)
    policy = some_policy(cmdp)
    direction = some_policy(cmdp, seed=1) - policy
    evaluation = cmdp.evaluate(policy)
    slope = evaluation.state_occupancy @ (evaluation.q_reward * direction).sum(axis=1)
    step = 1e-6
    difference = (
        cmdp.evaluate(policy + step * direction).value
        - cmdp.evaluate(policy - step * direction).value
    ) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-7)


@pytest.mark.parametrize("model", ["random graph", "long corridor"])
def test_sparse_and_dense_solves_agree(model):
    """The corridor mixes slowly: the iteration does not converge, and LU is used."""
    if model == "random graph":
        cmdp = random_cmdp(40, 3, constraints=2, seed=4, branching=3)
    else:
        cmdp = corridor(400)
    policy = some_policy(cmdp)
    evaluation = cmdp.evaluate(policy)
    solver = SparseSolver(cmdp.P, cmdp.discount)
    signals = np.einsum("sa,ksa->sk", policy, np.concatenate([cmdp.reward[None], cmdp.costs]))
    values, occupancy = solver.solve(policy, signals, cmdp.initial)
    scale = np.abs(evaluation.state_values).max()
    np.testing.assert_allclose(values, evaluation.state_values, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(occupancy, evaluation.state_occupancy, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        solver.expected_next(values), cmdp.P.reshape(-1, cmdp.num_states) @ values, rtol=1e-12
    )
    assert solver.uses_factorization == (model == "long corridor")


def corridor(length):
    """A walk to the left or right on a line that mixes over thousands of steps."""
    states = np.arange(length)
    P = np.zeros((length, 2, length))
    P[states, 0, np.maximum(states - 1, 0)] = 1.0
    P[states, 1, np.minimum(states + 1, length - 1)] = 1.0
    rng = np.random.default_rng(0)
    reward, costs = rng.random((length, 2)), rng.random((2, length, 2))
    return TabularCMDP(P, reward, costs, np.eye(length)[0], 0.999, np.ones(2))


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        cliff_world_model().P[0, 0, 0] = 1.0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("P", np.ones((2, 3)), r"P has shape \(2, 3\); pass an array of shape \(S, A, S\)"),
        ("P", np.full((21, 4, 21), 0.1), "P does not hold probability distributions"),
        ("reward", np.zeros((4, 21)), r"reward has shape \(4, 21\) .* shape \(21, 4\)"),
        ("costs", np.zeros((2, 21, 4)), r"costs has shape .* pass an array of shape \(1, 21, 4\)"),
        ("initial", np.zeros(21), "initial does not hold probability distributions"),
        ("discount", 1.0, r"discount is 1.0; pass a number in \[0, 1\)"),
        ("limits", np.array([np.nan]), "limits has values that are not finite"),
        ("limits", 0.2, r"limits has shape \(\); pass a list with one number per constraint"),
        ("constraint_names", ("a", "b"), "constraint_names has 2 entries but there are 1"),
        ("coordinates", np.zeros((3, 2)), r"one row per state, shape \(21, k\)"),
    ],
)
def test_refuses_wrong_tables(field, value, message):
    cmdp = cliff_world_model()
    given = {f.name: getattr(cmdp, f.name) for f in dataclasses.fields(cmdp) if f.init}
    with pytest.raises(ValueError, match=message):
        TabularCMDP(**(given | {field: value}))


def test_refuses_a_policy_of_another_shape():
    with pytest.raises(ValueError, match="21 states and 4 actions; pass an array of shape"):
        cliff_world_model().evaluate(np.ones((4, 21)))
