"""Metadata of datasets: what the environments declare, as JSON."""

import dataclasses
import functools
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import safe_envs
from safe_envs import ConstrainedWrapper, ConstraintSpec, CostSignalError, dataset_metadata

HAS_NATIVE_VECTORS = gym.__version__ >= "1.1"
IDS = sorted(env_id for env_id in gym.registry if env_id.startswith("Safe/"))


def as_json(env):
    metadata = dataset_metadata(env)
    assert json.loads(json.dumps(metadata)) == metadata
    return metadata


@pytest.mark.parametrize("own_id", IDS)
def test_says_what_the_environment_declares(own_id):
    env = gym.make(own_id, cost_limits=3.5)
    (declared,) = env.unwrapped.constraints
    assert as_json(env) == {
        "env_id": own_id,
        "env_kwargs": {**gym.spec(own_id).kwargs, "cost_limits": 3.5},
        "max_episode_steps": gym.spec(own_id).max_episode_steps,
        "constraint_names": [declared.name],
        "cost_limits": [3.5],
        "cost_discounts": [declared.discount],
        "reward_discount": env.unwrapped.reward_discount,
    }
    env.close()


def test_one_entry_per_constraint():
    env = gym.make("Safe/DoubleIntegrator-v0", per_constraint=True)
    metadata = as_json(env)
    assert metadata["constraint_names"] == [c.name for c in env.unwrapped.constraints]
    assert len(metadata["cost_limits"]) == len(metadata["cost_discounts"]) == 4
    assert metadata["env_kwargs"] == {"per_constraint": True}


def test_wrappers_change_nothing():
    plain = gym.make("Safe/DoubleIntegrator-v0")
    wrapped = gym.wrappers.RecordEpisodeStatistics(gym.wrappers.ClipAction(plain))
    assert as_json(wrapped) == as_json(plain)


def test_constraints_of_a_wrapper():
    env = ConstrainedWrapper(
        gym.make("Pendulum-v1", g=9.81),
        constraints=(ConstraintSpec("fast", 20.0, 0.9), ConstraintSpec("high", 2.0)),
        cost_fn=lambda obs, action, next_obs, reward, info: (0.0, 0.0),
        reward_discount=0.99,
    )
    assert as_json(env) == {
        "env_id": "Pendulum-v1",
        "env_kwargs": {"g": 9.81},
        "max_episode_steps": 200,
        "constraint_names": ["fast", "high"],
        "cost_limits": [20.0, 2.0],
        "cost_discounts": [0.9, 1.0],
        "reward_discount": 0.99,
    }


@pytest.mark.skipif(not HAS_NATIVE_VECTORS, reason="native vector environments need 1.1")
@pytest.mark.parametrize("num_envs", [1, 3])
def test_native_vectors_say_what_single_environments_say(num_envs):
    arguments = {"per_constraint": True, "cost_limits": (1.0, 2.0, 3.0, 4.0)}
    single = as_json(gym.make("Safe/DoubleIntegrator-v0", **arguments))
    native = gym.make_vec(
        "Safe/DoubleIntegrator-v0", num_envs, autoreset_mode="SameStep", **arguments
    )
    assert as_json(native) == single


@pytest.mark.skipif(not HAS_NATIVE_VECTORS, reason="native vector environments need 1.1")
def test_a_time_limit_of_the_caller():
    native = gym.make_vec("Safe/DoubleIntegrator-v0", 2, max_episode_steps=7)
    single = gym.make("Safe/DoubleIntegrator-v0", max_episode_steps=7)
    assert as_json(native) == as_json(single)
    assert as_json(native)["max_episode_steps"] == 7


def test_an_environment_without_an_id():
    env = gym.make("Safe/CliffWorld-v0").unwrapped
    env.spec = None
    metadata = as_json(env)
    assert metadata["env_id"] is metadata["env_kwargs"] is metadata["max_episode_steps"] is None
    assert metadata["cost_limits"] == [env.constraints[0].limit]


@dataclasses.dataclass(frozen=True)
class Vehicle:
    mass: np.ndarray
    folder: Path


class Constrained(gym.Env):
    observation_space = action_space = gym.spaces.Discrete(2)
    constraints = (ConstraintSpec("any", np.float64(1.0)),)
    reward_discount = np.float32(1.0)

    def __init__(self, argument):
        pass


def registered_with(argument):
    spec = gym.envs.registration.EnvSpec("Any-v0", Constrained, disable_env_checker=True)
    return gym.make(spec, argument=argument)


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        (np.array([[1.0, 2.0]]), [[1.0, 2.0]]),
        (np.int64(3), 3),
        ((1, np.bool_(True)), [1, True]),
        ({"wind": np.float32(0.5)}, {"wind": 0.5}),
        (Vehicle(np.array([0.5]), Path("a")), {"mass": [0.5], "folder": "a"}),
        (Vehicle, f"{__name__}:Vehicle"),
        (registered_with, f"{__name__}:registered_with"),
        (None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arguments_as_json(argument, kept):
    assert as_json(registered_with(argument))["env_kwargs"] == {"argument": kept}


@pytest.mark.parametrize("argument", [{1, 2}, functools.partial(max, 0), [].index, 1j, {(1, 2): 3}])
def test_arguments_that_json_cannot_hold(argument):
    with pytest.raises(ValueError, match="argument 'argument' of Any-v0 is .*JSON cannot store"):
        dataset_metadata(registered_with(argument))


def test_an_environment_without_constraints():
    with pytest.raises(CostSignalError, match="declares no constraints; wrap it"):
        dataset_metadata(gym.make("CartPole-v1"))


def test_copies_of_single_environments():
    copies = gym.vector.SyncVectorEnv([lambda: gym.make("Safe/CliffWorld-v0")])
    with pytest.raises(TypeError, match="does not pass on what its environments declare; pass one"):
        dataset_metadata(copies)
    assert as_json(copies.envs[0])["env_id"] == "Safe/CliffWorld-v0"
    assert safe_envs.dataset_metadata is dataset_metadata
