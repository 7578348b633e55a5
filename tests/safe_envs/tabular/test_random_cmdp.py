import numpy as np
import pytest
from scipy.optimize import linprog

from safe_envs.tabular.random_cmdp import RandomCMDPEnv, random_cmdp


def largest_common_slack(cmdp):
    """The largest t with V_c <= limits - t for all costs at once, by a linear program."""
    pairs = cmdp.num_states * cmdp.num_actions
    flow = np.kron(np.eye(cmdp.num_states), np.ones((1, cmdp.num_actions)))
    flow = flow - cmdp.discount * cmdp.P.reshape(pairs, -1).T
    costs = cmdp.costs.reshape(cmdp.num_constraints, pairs)
    solution = linprog(
        np.append(np.zeros(pairs), -1.0),
        np.hstack([costs, np.ones((cmdp.num_constraints, 1))]),
        cmdp.limits,
        np.hstack([flow, np.zeros((cmdp.num_states, 1))]),
        cmdp.initial,
        bounds=[(0, None)] * pairs + [(None, None)],
    )
    return -solution.fun


@pytest.mark.parametrize("seed", range(8))
def test_some_policy_satisfies_every_limit_strictly(seed):
    cmdp = random_cmdp(5 + 4 * seed, 2 + seed % 4, constraints=1 + seed % 3, seed=seed)
    assert largest_common_slack(cmdp) >= 0.03 - 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_the_best_return_without_limits_violates_them(seed):
    """So the constraints matter: value iteration on the reward alone violates at least one."""
    cmdp = random_cmdp(30, 4, constraints=2, seed=seed)
    values = np.zeros(30)
    for _ in range(400):
        q = cmdp.reward + cmdp.discount * cmdp.P @ values
        values = q.max(axis=1)
    evaluation = cmdp.evaluate(np.eye(4)[q.argmax(axis=1)])
    assert evaluation.value == pytest.approx(cmdp.initial @ values, abs=1e-9)
    assert (evaluation.costs > cmdp.limits).any()


def test_equal_seeds_give_equal_models():
    a, b, c = (random_cmdp(9, 3, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.P, b.P)
    assert not np.array_equal(a.P, c.P)


@pytest.mark.parametrize("branching", [1, 3])
def test_branching_is_the_number_of_successors(branching):
    cmdp = random_cmdp(40, 3, seed=0, branching=branching)
    assert (np.count_nonzero(cmdp.P, axis=2) == branching).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"states": -4}, "states is -4; pass a whole number >= 2"),
        ({"actions": 1}, "actions is 1; pass a whole number >= 2"),
        ({"constraints": 0}, "constraints is 0; pass a whole number >= 1"),
        ({"branching": 50}, "branching is 50; pass a number from 1 to 20, or None"),
        ({"cost_limits": [1.0, 2.0]}, "pass 1 number$"),
    ],
)
def test_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomCMDPEnv(**arguments)


def test_slack_has_to_be_positive():
    with pytest.raises(ValueError, match=r"slack is 0.0; pass a number in \(0, 1\]"):
        random_cmdp(slack=0.0)
