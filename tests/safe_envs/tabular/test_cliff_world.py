import gymnasium as gym
import numpy as np
import pytest
from scipy.stats import chisquare

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.tabular.cliff_world import CliffWorldEnv, cliff_world_model

# Optimal state values of the public 21-state cliff (Vaswani et al. 2021, released with the code).
GOLDEN = [
    *(0.531441, -99.521703, -99.521703, -99.521703, 1.0),
    *(0.59049, 0.6561, 0.729, 0.81, 0.9),
    *(0.531441, 0.59049, 0.6561, 0.729, 0.81),
    *(0.478297, 0.531441, 0.59049, 0.6561, 0.729, 0.0),
]


def value_iteration(cmdp):
    values = np.zeros(cmdp.num_states)
    for _ in range(400):
        values = (cmdp.reward + cmdp.discount * cmdp.P @ values).max(axis=1)
    return values


def test_is_the_public_cliff_without_slip():
    values = value_iteration(cliff_world_model(slip=0.0, chasm_reward=-100.0))
    np.testing.assert_allclose(values, GOLDEN, rtol=0, atol=1e-6)


def test_uniform_policy_has_the_published_values():
    cmdp = cliff_world_model()
    evaluation = cmdp.evaluate(cmdp.uniform_policy())
    assert evaluation.value == pytest.approx(0.10009798843657874, abs=1e-12)
    assert evaluation.costs[0] == pytest.approx(0.6975737734066587, abs=1e-12)


def test_cells_are_charged_apart_and_sum_to_the_chasm():
    whole, cells = cliff_world_model(), cliff_world_model(per_constraint=True)
    assert cells.constraint_names == ("chasm_1", "chasm_2", "chasm_3")
    np.testing.assert_array_equal(cells.costs.sum(axis=0), whole.costs[0])
    assert cells.limits.sum() == pytest.approx(whole.limits[0])


def test_sampled_transitions_agree_with_the_model():
    env = CliffWorldEnv()
    cmdp = env.tabular_model()
    env.reset(seed=12)
    rejected = 0
    for state in (0, 5, 7, 13, 19, 2):
        for action in range(4):
            counts = np.zeros(21)
            for _ in range(600):
                env.reset(options={"state": state})
                counts[env.step(action)[0]] += 1
            expected = 600 * cmdp.P[state, action]
            possible = expected > 0
            assert counts[~possible].sum() == 0
            if possible.sum() > 1:
                rejected += chisquare(counts[possible], expected[possible]).pvalue < 0.01
    assert rejected <= 2  # of 24 tests at the one percent level


def test_first_states_are_uniform():
    env = CliffWorldEnv()
    env.reset(seed=3)
    counts = np.bincount([env.reset()[0] for _ in range(4200)], minlength=21)
    assert chisquare(counts).pvalue > 0.01


def test_charges_the_step_that_leaves_a_special_cell():
    env = CliffWorldEnv(slip=0.0, chasm_reward=-3.0)
    env.reset(seed=0, options={"state": 6})
    assert env.step(2)[:2] == (1, 0.0)
    state, reward, terminated, _, info = env.step(1)
    assert (state, reward, terminated, info["cost"]) == (0, -3.0, False, 1.0)
    assert info["episode_cost"] == 1.0
    env.reset(options={"state": 9})
    assert env.step(2)[:3] == (4, 0.0, False)
    assert env.step(0)[:3] == (20, 1.0, True)


@pytest.mark.parametrize("slip", [0.0, 0.1, 0.2, 0.3, 0.7, 1.0])
def test_ends_after_the_goal_for_every_slip(slip):
    """The probability of staying in state 20 is a sum, which rounding may move away from 1."""
    env = CliffWorldEnv(slip=slip)
    env.reset(seed=0, options={"state": 4})
    assert env.step(1)[:3] == (20, 1.0, True)


@pytest.mark.skipif(AutoresetMode is None, reason="this Gymnasium has no native vector forms")
@pytest.mark.parametrize("slip", [0.0, 0.1, 0.7])
def test_the_vector_form_ends_after_the_goal_too(slip):
    batch = gym.make_vec("Safe/CliffWorld-v0", num_envs=2, slip=slip)
    batch.reset(seed=0, options={"state": np.array([4, 0])})
    assert batch.step(np.array([1, 1]))[2].tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slip": 1.5}, r"slip is 1.5; pass a probability in \[0, 1\]"),
        ({"slip": float("nan")}, "slip is nan"),
        ({"chasm_reward": float("inf")}, "chasm_reward is inf; pass a finite number"),
        ({"cost_limits": [0.1, 0.2]}, "2 entries but .* 1 constraint .'chasm'.; pass 1 number$"),
        ({"cost_limits": 0.1, "per_constraint": True}, "1 entry .* pass 3 numbers"),
        ({"cost_limits": float("nan")}, "cost_limits is nan; pass a finite number"),
    ],
)
def test_refuses_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CliffWorldEnv(**arguments)


@pytest.mark.parametrize("action", [4, -1, 0.5, float("nan"), [0, 1], "up", None, True])
def test_refuses_actions_that_do_not_exist(action):
    env = CliffWorldEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"is not in Discrete\(4\); pass one whole number from 0"):
        env.step(action)


def test_accepts_numpy_integers():
    env = CliffWorldEnv(slip=0.0)
    for action in (np.int64(3), np.array(3), np.array([3])):
        env.reset(options={"state": 0})
        assert env.step(action)[0] == 5


@pytest.mark.parametrize("state", [21, -1, 2.5, [1, 2]])
def test_refuses_states_that_do_not_exist(state):
    with pytest.raises(ValueError, match="does not exist; pass a whole number from 0 to 20"):
        CliffWorldEnv().reset(options={"state": state})
