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


MISSING = {"cost": np.array([3.0, 9.0]), "_cost": np.array([True, False])}


def test_rows_that_were_only_reset_cost_nothing():
    """Whoever steps the environments knows which rows those are, and native forms say it."""
    only_reset = np.array([False, True])
    expected = [[3.0], [0.0]]
    np.testing.assert_array_equal(read_costs(MISSING, 2, 1, only_reset=only_reset), expected)
    np.testing.assert_array_equal(read_costs(MISSING | {"_only_reset": only_reset}, 2, 1), expected)
    rows = [{"cost": 3.0}, {}]
    np.testing.assert_array_equal(read_costs(rows, 2, 1, only_reset=only_reset), expected)
    rows[1]["only_reset"] = True
    np.testing.assert_array_equal(read_costs(rows, 2, 1), expected)
    nothing = np.ones(2, dtype=bool)
    np.testing.assert_array_equal(read_costs({}, 2, 3, only_reset=nothing), np.zeros((2, 3)))
    reported = {"cost": np.array([3.0, 9.0])}  # by a reset, whose row took no step
    np.testing.assert_array_equal(read_costs(reported, 2, 1, only_reset=only_reset), expected)


def test_a_row_that_took_a_step_without_a_cost():
    with pytest.raises(CostSignalError, match=r"no 'cost' of environments \[1\] .*only_reset"):
        read_costs(MISSING, 2, 1)
    with pytest.raises(CostSignalError, match=r"no 'cost' of environments \[1\]"):
        read_costs(MISSING, 2, 1, only_reset=np.array([True, False]))


class Forgets(CostsItsLastStep):
    """Leaves out its cost at the given steps, counted from 1 over all episodes."""

    def __init__(self, length, tag, forgotten):
        super().__init__(length, tag)
        self.forgotten, self.taken = forgotten, 0

    def step(self, action):
        *rest, info = super().step(action)
        self.taken += 1
        return (*rest, {} if self.taken in self.forgotten else info)


@needs_autoreset_modes
@pytest.mark.parametrize("kind", ["SyncVectorEnv", "AsyncVectorEnv"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@pytest.mark.parametrize(("step", "ends"), [(3, False), (4, True)])
def test_a_missing_cost_is_noticed_at_its_step(kind, mode, step, ends):
    """In the middle and at the end of an episode of one of two environments."""
    makes = [lambda: CostsItsLastStep(5, 1), lambda: Forgets(4, 2, {step})]
    venv = getattr(gym.vector, kind)(makes, autoreset_mode=AutoresetMode(mode))
    venv.reset(seed=0)
    for _ in range(step - 1):
        read_costs(venv.step(np.zeros(2, dtype=np.int64))[4], 2, 1)
    _, _, terminated, _, infos = venv.step(np.zeros(2, dtype=np.int64))
    assert terminated.tolist() == [False, ends]
    with pytest.raises(CostSignalError, match=r"info has no 'cost' of environments \[1\]"):
        read_costs(infos, 2, 1)
    venv.close()


@needs_autoreset_modes
def test_numbers_that_gymnasium_rounds():
    """It casts the numbers of all rows to the type of the first, here 0.5 to the whole number 0."""
    collected = gym.vector.VectorEnv._add_info
    venv = gym.vector.VectorEnv()
    venv.num_envs = 2
    infos = collected(venv, collected(venv, {}, {"cost": 0}, 0), {"cost": 0.5}, 1)
    with pytest.raises(CostSignalError, match="another environment's 0.5 would have become 0; rep"):
        read_costs(infos, 2, 1)
    infos = collected(venv, collected(venv, {}, {"cost": False}, 0), {"cost": 0.5}, 1)
    with pytest.raises(CostSignalError, match="an array of bool"):
        read_costs(infos, 2, 1)
    infos = collected(venv, collected(venv, {}, {"cost": 0.0}, 0), {"cost": 1}, 1)
    assert read_costs(infos, 2, 1).tolist() == [[0.0], [1.0]]
    venv.num_envs = 1
    assert read_costs(collected(venv, {}, {"cost": 2}, 0), 1, 1).tolist() == [[2.0]]
    assert read_costs([{"cost": 0}, {"cost": 0.5}], 2, 1).tolist() == [[0.0], [0.5]]
    assert read_costs({"cost": np.array([0, 1])}, 2, 1).tolist() == [[0.0], [1.0]]  # one array


def test_values_that_gymnasium_collects_as_objects():
    costs = np.array([[1.0, 2.0], None], dtype=object)
    infos = {"costs": costs, "_costs": np.array([True, False]), "_only_reset": [False, True]}
    assert read_costs(infos, 2, 2).tolist() == [[1.0, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.5])
def test_costs_that_are_no_finite_numbers_from_zero(wrong):
    message = rf"environment 1: the cost is \[{wrong}\]; costs must be finite and >= 0"
    forms = [
        {"cost": np.array([1.0, wrong])},
        [{"cost": 1.0}, {"cost": wrong}],
        {
            "cost": np.zeros(2),
            "final_info": {"cost": np.array([0.0, wrong]), "_cost": np.array([False, True])},
            "_final_info": np.array([False, True]),
        },
    ]
    for infos in forms:
        with pytest.raises(CostSignalError, match=message):
            read_costs(infos, 2, 1)
    with pytest.raises(CostSignalError, match="environment 1: the cost is"):
        read_costs([{"cost": 1.0}, {"cost": None}], 2, 1)
    with pytest.raises(CostSignalError, match="is not a number everywhere: could not convert"):
        read_costs([{"cost": 1.0}, {"cost": "high"}], 2, 1)


@pytest.mark.parametrize(
    ("infos", "message"),
    [
        ({"time": np.zeros(2)}, r"info has no 'costs' \(it has \['time'\]\)"),
        ({"costs": np.zeros((2, 3))}, r"has shape \(2, 3\) but 2 environments with 2 constraints"),
        ({"costs": np.zeros((4, 1))}, r"has shape \(4, 1\) but 2 environments with 2 constraints"),
        ({"final_info": {"costs": np.zeros((2, 2))}}, "'final_info' but no mask '_final_info'"),
        ([{"costs": [0, 0]}, {}], "info of environment 1 has no 'costs'"),
        ([{"costs": [0, 0]}], "1 info was given for 2 environments"),
        ([{"costs": [0]}, {"costs": [0]}], "expected 2 costs each"),
    ],
)
def test_missing_costs_are_an_error_not_zero(infos, message):
    with pytest.raises(CostSignalError, match=message):
        read_costs(infos, 2, 2)
