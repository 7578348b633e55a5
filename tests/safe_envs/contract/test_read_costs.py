"""No cost is lost between environments and code that reads the infos of many."""

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import CostSignalError, read_costs
from safe_envs.contract.vector_env import AutoresetMode

needs_autoreset_modes = pytest.mark.skipif(
    AutoresetMode is None, reason="this Gymnasium has no autoreset modes"
)


class CostsItsLastStep(gym.Env):
    """Episodes of `length` steps; only the last one costs, and 10 times the environment's tag."""

    observation_space = gym.spaces.Discrete(10)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length, tag, constraints=1):
        self.length, self.tag, self.constraints = length, tag, constraints

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return 0, self.info(0.0)

    def step(self, action):
        self.steps += 1
        ended = self.steps == self.length
        return 0, 0.0, ended, False, self.info(10.0 * self.tag if ended else 0.0)

    def info(self, cost):
        info = {"cost": cost}
        if self.constraints > 1:
            info["costs"] = np.array([0.25 * cost, 0.75 * cost])
        return info


LENGTHS = (2, 3, 3)


def factories(constraints=1):
    return [
        lambda length=length, tag=tag: CostsItsLastStep(length, tag, constraints)
        for tag, length in enumerate(LENGTHS, start=1)
    ]


def expected_same_step(step):
    return [10.0 * tag * (step % length == 0) for tag, length in enumerate(LENGTHS, start=1)]


def expected_next_step(step):
    """An episode of length k takes k + 1 steps, the last of which only resets."""
    return [
        10.0 * tag * (step % (length + 1) == length) for tag, length in enumerate(LENGTHS, start=1)
    ]


@needs_autoreset_modes
@pytest.mark.parametrize("constraints", [1, 2])
@pytest.mark.parametrize("kind", ["SyncVectorEnv", "AsyncVectorEnv"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_terminal_costs_arrive(kind, mode, constraints):
    venv = getattr(gym.vector, kind)(factories(constraints), autoreset_mode=AutoresetMode(mode))
    venv.reset(seed=0)
    expected = expected_same_step if mode == "SameStep" else expected_next_step
    for step in range(1, 25):
        infos = venv.step(np.zeros(3, dtype=np.int64))[4]
        costs = read_costs(infos, 3, constraints)
        assert costs.shape == (3, constraints)
        assert costs.dtype == np.float64
        np.testing.assert_array_equal(costs.sum(axis=1), expected(step))
        if constraints == 2:
            np.testing.assert_array_equal(3 * costs[:, 0], costs[:, 1])
    venv.close()


@pytest.mark.parametrize("constraints", [1, 2])
def test_terminal_costs_arrive_through_stable_baselines3(constraints):
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    venv = vec_env.DummyVecEnv(factories(constraints))
    venv.reset()
    for step in range(1, 25):
        infos = venv.step(np.zeros(3, dtype=np.int64))[3]
        costs = read_costs(infos, 3, constraints)
        np.testing.assert_array_equal(costs.sum(axis=1), expected_same_step(step))


def test_reads_the_infos_of_gymnasium_0_29():
    """There `final_info` is an object array with one dict per ended row."""
    infos = {
        "cost": np.array([0.0, 5.0]),
        "_cost": np.array([True, True]),
        "final_info": np.array([{"cost": 7.0}, None], dtype=object),
        "_final_info": np.array([True, False]),
    }
    np.testing.assert_array_equal(read_costs(infos, 2, 1), [[7.0], [5.0]])


def test_rows_that_were_only_reset_cost_nothing():
    infos = {"cost": np.array([3.0, 9.0]), "_cost": np.array([True, False])}
    np.testing.assert_array_equal(read_costs(infos, 2, 1), [[3.0], [0.0]])


@pytest.mark.parametrize(
    ("infos", "message"),
    [
        ({"time": np.zeros(2)}, r"info has no 'costs' \(it has \['time'\]\)"),
        ({"costs": np.zeros((2, 3))}, r"has shape \(2, 3\) but 2 environments with 2 constraints"),
        ([{"costs": [0, 0]}, {}], "info of environment 1 has no 'costs'"),
        ([{"costs": [0, 0]}], "1 info was given for 2 environments"),
        ([{"costs": [0]}, {"costs": [0]}], "expected 2 costs each"),
    ],
)
def test_missing_costs_are_an_error_not_zero(infos, message):
    with pytest.raises(CostSignalError, match=message):
        read_costs(infos, 2, 2)
