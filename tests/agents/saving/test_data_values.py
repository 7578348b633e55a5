"""Values become data and back; code does not, and files cannot ask for it."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from agents import LinearDecay, SavedAgentError
from agents.saving.data_values import Code, NotDataError, ValueReader, ValueWriter
from agents.scpo.residual_policy import ResidualPolicy
from safe_envs import LinearFeedback
from safe_envs.contract.one_hot_box import OneHotBox

BOX = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)


def there_and_back(value):
    tensors = {}
    data = ValueWriter(tensors).write(value, "x")
    reader = ValueReader(tensors)
    found = reader.read(data, "x")
    reader.check_all_used()
    return found


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -3, 2**70, 1.5, -0.0, float("inf"), float("-inf"), "", "text", "$"),
        *([], [1, [2.0, "x"]], (), (1, (2,)), [()], {}, {"a": {"b": [1]}}),
        *({1: 2, (1, 2): "x", None: 3.0}, {"$": "array"}, {"a": {"$": 1}}),
        *(torch.nn.Tanh, torch.nn.ReLU, torch.optim.Adam, torch.optim.SGD),
        *(NatureCNN, CombinedExtractor, ResidualPolicy, LinearDecay(1e-3, 1e-4)),
    ],
)
def test_plain_values(value):
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


def test_numbers_that_are_not_finite():
    assert np.isnan(there_and_back(float("nan")))


@pytest.mark.parametrize("value", [np.float32(0.1), np.int64(3), np.bool_(True), np.str_("x")])
def test_numpy_scalars_become_plain(value):
    found = there_and_back(value)
    assert found == value.item()
    assert not isinstance(found, np.generic)


@pytest.mark.parametrize(
    "dtype",
    [
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", ">f8", ">i2"),
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_arrays(dtype, shape):
    rng = np.random.default_rng(0)
    value = np.array(rng.integers(0, 256, (*shape, 8), np.uint8).sum(-1)).astype(dtype)
    for one in (value, value.T):
        found = there_and_back(one)
        assert found.dtype == one.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, one)
    largest = np.array(np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1, dtype)
    assert there_and_back(largest) == largest


def test_tensors():
    for value in (torch.zeros(()), torch.arange(6).view(2, 3).t(), torch.ones(2).bfloat16()):
        found = there_and_back({"a": [value]})["a"][0]
        assert torch.equal(found, value)
        assert found.dtype == value.dtype


@pytest.mark.parametrize(
    "space",
    [
        BOX,
        gym.spaces.Box(-np.inf, np.inf, (), np.float64),
        gym.spaces.Box(np.array([0, 1]), np.array([5, 7]), dtype=np.int64),
        gym.spaces.Box(0, 65535, (2, 2), np.uint16),
        gym.spaces.Box(0, 255, (3, 8, 8), np.uint8),
        OneHotBox(5),
        gym.spaces.Discrete(3, start=-1),
        gym.spaces.Discrete(3, dtype=np.int32),
        gym.spaces.MultiDiscrete([2, 3], start=[1, 0]),
        gym.spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), dtype=np.int32),
        gym.spaces.MultiBinary(4),
        gym.spaces.MultiBinary((2, 3)),
        gym.spaces.Dict({"z": BOX, "a": gym.spaces.Discrete(3)}),
        gym.spaces.Dict([("z", BOX), ("a", gym.spaces.Discrete(3))]),
        gym.spaces.Tuple((BOX, gym.spaces.Discrete(3))),
    ],
)
def test_spaces(space):
    found = there_and_back(space)
    assert found == space
    assert type(found) is type(space)
    assert found.dtype == space.dtype
    if isinstance(space, gym.spaces.Dict):
        assert list(found) == list(space)
    found.seed(3), space.seed(3)
    samples = [gym.spaces.utils.flatten(one, one.sample()) for one in (found, space)]
    np.testing.assert_array_equal(*samples)


@pytest.mark.parametrize(
    "schedule",
    [
        ConstantSchedule(0.2),
        LinearSchedule(1e-3, 1e-5, 0.5),
        FloatSchedule(0.3),
        FloatSchedule(LinearSchedule(1e-3, 0.0, 1.0)),
        LinearDecay(0.5),
        LinearDecay(0.5, 0.1, 0.25),
    ],
)
def test_schedules(schedule):
    found = there_and_back(schedule)
    assert type(found) is type(schedule)
    for progress in np.linspace(1, 0, 9):
        assert found(progress) == schedule(progress)


def test_a_decay_without_a_part_covers_the_whole_training():
    """As files have it from before there were parts."""
    data = {"$": "LinearDecay", "start": 0.5, "end": 0.1}
    assert ValueReader({}).read(data, "x") == LinearDecay(0.5, 0.1, 1.0)


def test_linear_controllers():
    feedback = LinearFeedback(np.array([[1.0, -0.3]]), -2.0, 1.0, 0.5)
    found = there_and_back(feedback)
    states = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(found(states), feedback(states))
    np.testing.assert_array_equal(found.residual_share(states), feedback.residual_share(states))


class MyNetwork(torch.nn.Module):
    pass


class MyBox(gym.spaces.Box):
    pass


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda progress: 1e-3 * progress, "the function .*lambda.* of "),
        (MyNetwork, "the class MyNetwork of "),
        (MyBox(-1, 1, (2,)), "the MyBox of "),
        (print, "the builtin_function_or_method print of builtins"),
        (object(), "the object of builtins"),
        (1j, "the complex of builtins"),
        ({1, 2}, "the set of builtins"),
        (b"bytes", "the bytes of builtins"),
        (FloatSchedule(lambda progress: 1.0), "the function"),
        (np.array(["text"]), "an array of <U4"),
        (np.array([None]), "an array of object"),
        (torch.nn.functional.relu, "the function relu of torch.nn.functional"),
        (np, "the module"),
    ],
)
def test_what_is_no_data(value, what):
    tensors = {}
    writer = ValueWriter(tensors)
    with pytest.raises(NotDataError, match=what):
        writer.write({"a": [np.zeros(2), value]}, "x")
    named = ValueWriter(tensors := {}).write_or_name([np.zeros(2), value], "x")
    assert tensors == {}
    found = ValueReader({}).read(named, "x")
    assert isinstance(found, Code)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"$": "class", "name": "os.system"}, "only classes of torch.nn"),
        ({"$": "class", "name": "torch.nn.functional"}, "only classes of torch.nn"),
        ({"$": "class", "name": "torch.nn.init.kaiming_uniform_"}, "only classes"),
        ({"$": "class", "name": "torch.optim.lr_scheduler"}, "only classes"),
        ({"$": "class", "name": "torch.load"}, "only classes"),
        ({"$": "class", "name": "agents.stub_writer.Path"}, "only classes"),
        ({"$": "class", "name": "agents.actor_critic.np"}, "only classes"),
        ({"$": "class", "name": "agents.no_such.Module"}, "only classes"),
        ({"$": "class", "name": "subprocess.Popen"}, "only classes"),
        ({"$": "class", "name": "builtins.eval"}, "only classes"),
        ({"$": "class", "name": ""}, "only classes"),
        ({"$": "class", "name": 3}, "only classes"),
        ({"$": "class"}, "cannot be read"),
        ({"$": "function", "name": "os.system"}, "unknown kind 'function'"),
        ({"$": ["list"]}, "cannot be read|unknown kind"),
        ({"$": None}, "unknown kind 'None'"),
        ({"$": "Box", "low": 0, "high": 1}, "cannot be read"),
        ({"$": "Box", "low": 0}, "unknown kind 'Box'"),
        ({"$": "Discrete", "n": -3, "start": 0, "dtype": "int64"}, "cannot be read"),
        ({"$": "Discrete", "n": "x", "start": 0, "dtype": "int64"}, "cannot be read"),
        ({"$": "Discrete", "n": 3, "start": 0, "dtype": "object"}, "cannot be read"),
        ({"$": "Dict", "spaces": {"a": 3}}, "cannot be read"),
        ({"$": "Tuple", "spaces": [3]}, "cannot be read"),
        ({"$": "MultiBinary", "n": -1}, "cannot be read"),
        ({"$": "ConstantSchedule", "val": "x"}, "cannot be read"),
        ({"$": "LinearSchedule", "start": 1, "end": 0, "end_fraction": 0}, "cannot be read"),
        ({"$": "FloatSchedule", "value_schedule": 1}, "cannot be read"),
        ({"$": "LinearDecay", "start": -1, "end": 0}, "cannot be read"),
        ({"$": "float", "value": "1e5"}, "cannot be read"),
        ({"$": "tuple", "items": 3}, "has no list of items"),
        ({"$": "pairs", "items": [[1]]}, "cannot be read"),
        ({"$": "pairs", "items": [[[1], 2]]}, "cannot be read"),
        ({"$": "array", "tensor": "nowhere", "dtype": "float32"}, "'nowhere' is missing"),
        ({"$": "array", "tensor": "t", "dtype": "int64"}, "numbers of float32, not of 'int64'"),
        ({"$": "array", "tensor": "t", "dtype": "object"}, "numbers of float32, not of 'object'"),
        ({"$": "array", "tensor": ["t"], "dtype": "float32"}, "cannot be read"),
        ([{"$": "tensor", "tensor": "t"}] * 2, "'t' is missing in the file, or belongs to two"),
    ],
)
def test_what_files_cannot_ask_for(data, message):
    with pytest.raises(SavedAgentError, match=message):
        ValueReader({"t": torch.zeros(2)}).read(data, "place")


def test_deep_nesting_and_tensors_without_a_place():
    deep = [1]
    for _ in range(200):
        deep = [deep]
    with pytest.raises(SavedAgentError, match="nested too deeply"):
        ValueReader({}).read(deep, "place")
    for kind in ("tuple", "pairs"):
        deep = 1
        for _ in range(200):
            deep = {"$": kind, "items": [deep] if kind == "tuple" else [[1, deep]]}
        with pytest.raises(SavedAgentError, match="nested too deeply"):
            ValueReader({}).read(deep, "place")
    reader = ValueReader({"t": torch.zeros(2)})
    with pytest.raises(SavedAgentError, match="'t', which belongs to nothing"):
        reader.check_all_used()
