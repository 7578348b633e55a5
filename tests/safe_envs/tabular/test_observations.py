"""The one-hot form of every tabular environment against the form that shows state numbers."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import check_constrained_env
from safe_envs.contract.vector_env import AutoresetMode

CASES = [
    ("Safe/CliffWorld-v0", {"per_constraint": True}),
    ("Safe/DeepSeaTreasure-v0", {"size": 4, "mines": ((0, 2),)}),
    ("Safe/RandomCMDP-v0", {"states": 7, "actions": 3, "constraints": 2}),
]
ONE_HOT = {"observation": "one_hot"}
AUTORESETS = [] if AutoresetMode is None else ["NextStep", "SameStep", "Disabled"]


def both(tabular_id, kwargs, **more):
    return [gym.make(tabular_id, **kwargs, **form, **more) for form in ({}, ONE_HOT)]


def seen(number, states):
    return np.eye(states, dtype=np.float32)[number]


def same(one, other):
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("tabular_id", "kwargs"), CASES)
def test_a_flight_is_the_same_but_for_what_is_seen(tabular_id, kwargs):
    index, one_hot = both(tabular_id, kwargs, max_episode_steps=30)
    states = index.observation_space.n
    assert one_hot.observation_space == gym.spaces.Box(0.0, 1.0, (states,), np.float32)
    (number, info), (row, info_row) = index.reset(seed=3), one_hot.reset(seed=3)
    for _ in range(120):
        np.testing.assert_array_equal(row, seen(number, states))
        assert row.dtype == np.float32
        assert one_hot.observation_space.contains(row)
        assert one_hot.unwrapped.current_state("the test") == number
        same(info, info_row)
        action = index.action_space.sample()
        number, *ours, info = index.step(action)
        row, *theirs, info_row = one_hot.step(action)
        assert ours == theirs
        if ours[1] or ours[2]:
            (number, info), (row, info_row) = index.reset(), one_hot.reset()


@pytest.mark.parametrize(("tabular_id", "kwargs"), CASES)
@pytest.mark.parametrize("mode", AUTORESETS)
def test_many_flights_are_the_same_but_for_what_is_seen(tabular_id, kwargs, mode):
    arguments = dict(kwargs, num_envs=6, autoreset_mode=mode, max_episode_steps=9)
    index, one_hot = (gym.make_vec(tabular_id, **arguments, **form) for form in ({}, ONE_HOT))
    states = index.single_observation_space.n
    assert one_hot.observation_space.shape == (6, states)
    (numbers, info), (rows, info_rows) = index.reset(seed=3), one_hot.reset(seed=3)
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(40):
        np.testing.assert_array_equal(rows, seen(numbers, states))
        assert one_hot.observation_space.contains(rows)
        last, last_rows = info.pop("final_obs", None), info_rows.pop("final_obs", None)
        if last is not None:
            ended = np.flatnonzero(info["_final_obs"])
            ends += len(ended)
            same(info.pop("final_info"), info_rows.pop("final_info"))
            for row in ended:
                np.testing.assert_array_equal(last_rows[row], seen(last[row], states))
        same(info, info_rows)
        actions = rng.integers(0, index.single_action_space.n, 6)
        numbers, *ours, info = index.step(actions)
        rows, *theirs, info_rows = one_hot.step(actions)
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        done = ours[1] | ours[2]
        if mode == "Disabled" and done.any():
            np.testing.assert_array_equal(rows, seen(numbers, states))
            options = {"reset_mask": done}
            numbers, info = index.reset(options=options)
            rows, info_rows = one_hot.reset(options=options)
    assert ends > 10 or mode != "SameStep"


@pytest.mark.parametrize(("tabular_id", "kwargs"), CASES)
def test_states_keep_their_numbers(tabular_id, kwargs):
    """In the reset option, the model and the frames."""
    index, one_hot = both(tabular_id, kwargs, render_mode="rgb_array")
    states = index.observation_space.n
    for state in range(states):
        observation, _ = one_hot.reset(options={"state": state})
        index.reset(options={"state": state})
        np.testing.assert_array_equal(observation, seen(state, states))
    np.testing.assert_array_equal(index.render(), one_hot.render())
    for table in ("P", "reward", "costs"):
        ours, theirs = (getattr(e.unwrapped.tabular_model(), table) for e in (index, one_hot))
        np.testing.assert_array_equal(ours, theirs)
    every_state = one_hot.unwrapped.tabular_observations()
    np.testing.assert_array_equal(every_state, np.eye(states))
    np.testing.assert_array_equal(index.unwrapped.tabular_observations(), np.arange(states))


@pytest.mark.parametrize("mode", AUTORESETS)
def test_batches_start_in_numbered_states(mode):
    arguments = {"num_envs": 3, "autoreset_mode": mode, **ONE_HOT}
    venv = gym.make_vec("Safe/CliffWorld-v0", **arguments)
    rows, _ = venv.reset(seed=0, options={"state": [2, 20, 0]})
    np.testing.assert_array_equal(rows, seen([2, 20, 0], 21))
    with pytest.raises(ValueError, match="state 21 does not exist"):
        venv.reset(options={"state": [2, 21, 0]})


@pytest.mark.parametrize(("tabular_id", "kwargs"), CASES)
def test_keeps_the_contract(tabular_id, kwargs):
    report = check_constrained_env(tabular_id, steps=60, **kwargs, **ONE_HOT)
    assert "costs of random rollouts" in report.passed


@pytest.mark.parametrize("duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_copies_fly_on_alike(duplicate):
    env = gym.make("Safe/CliffWorld-v0", observation="one_hot")
    env.reset(seed=1)
    for action in (1, 3, 1, 3):
        other = duplicate(env)
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])


def test_a_specification_makes_the_same_form():
    spec = gym.make("Safe/CliffWorld-v0", observation="one_hot").spec
    again = gym.make(type(spec).from_json(spec.to_json()))
    assert again.observation_space.shape == (21,)


def test_what_an_agent_does_to_a_row_stays_with_it():
    env = gym.make("Safe/CliffWorld-v0", observation="one_hot")
    row, _ = env.reset(options={"state": 7})
    row[:] = 5.0
    np.testing.assert_array_equal(env.reset(options={"state": 7})[0], seen(7, 21))


@pytest.mark.parametrize(("tabular_id", "kwargs"), CASES)
def test_refuses_unknown_forms(tabular_id, kwargs):
    message = "observation is 'onehot'; did you mean 'one_hot'. pass one of 'index', 'one_hot'"
    with pytest.raises(ValueError, match=message):
        gym.make(tabular_id, **kwargs, observation="onehot")
    if AutoresetMode is not None:
        with pytest.raises(ValueError, match=message):
            gym.make_vec(tabular_id, num_envs=2, **kwargs, observation="onehot")
