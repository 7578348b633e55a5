"""The policies of the parity command, and the file that both interpreters execute."""

import ast
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from safe_envs.safety_gymnasium_bridge.parity import legacy_rollouts, rollout_policies
from safe_envs.safety_gymnasium_bridge.parity.policies import (
    given_actions,
    random_definition,
    seeking_definition,
)
from safe_envs.safety_gymnasium_bridge.parity.rollout_policies import lidar_policy, policy_of
from safe_envs.safety_gymnasium_bridge.parity.sides import RolloutJob, bridged_rollouts

POINT = {"gain": 2.0, "forward": np.array([1.0, 0.0]), "left": np.array([0.0, 1.0])}
STANDARD = {"__future__", "collections", "importlib", "json", "math", "platform", "sys"}
STANDARD |= {"typing", "warnings"}


@pytest.mark.parametrize("module", [rollout_policies, legacy_rollouts])
def test_the_old_interpreter_finds_all_that_is_imported(module):
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 10))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported <= STANDARD | {"numpy"}  # and the genuine package, by its name


def test_a_definition_that_traveled_gives_the_same_actions(make_env):
    """As on the other side: the file executed by its path, the definition read from JSON."""
    spec = importlib.util.spec_from_file_location("elsewhere", rollout_policies.__file__)
    elsewhere = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(elsewhere)
    env = make_env("SafetyDoggoPush1-v0")
    observation = np.random.default_rng(1).normal(size=env.observation_space.shape)
    for definition in (random_definition(env), seeking_definition("SafetyDoggoPush1-v0", env)):
        here = policy_of(definition, 3)
        there = elsewhere.policy_of(json.loads(json.dumps(definition)), 3)
        for step in range(4):
            action = here(observation, step)
            assert np.array_equal(action, there(observation, step))
            assert env.action_space.contains(action)
    first, other = policy_of(random_definition(env), 3), policy_of(random_definition(env), 4)
    assert not np.array_equal(first(observation, 0), other(observation, 0))


@pytest.mark.parametrize("angle", [0.3, 1.5, -0.4, -2.9])
def test_steers_toward_what_the_lidar_sees(angle):
    """The package spreads an object over the bin it lies in and, in parts, both neighbors."""
    width = 2 * math.pi / 16
    inside, part = divmod(angle % (2 * math.pi), width)
    part /= width
    readings = np.zeros(18)
    for shift, reading in ((-1, 1.0 - part), (0, 1.0), (1, part)):
        readings[1 + (int(inside) + shift) % 16] = 0.5 * reading
    speed, turn = lidar_policy(np.array([1, 17]), 0.0, **POINT)(readings, 0)
    assert turn == pytest.approx(np.clip(2.0 * angle, -1.0, 1.0), abs=0.06)
    assert speed == pytest.approx(max(math.cos(angle), 0.0), abs=0.06)
    quarter = lidar_policy(np.array([1, 17]), math.pi / 2, **POINT)(readings, 0)
    left_of_it = math.remainder(angle - math.pi / 2, 2 * math.pi)
    assert quarter[1] == pytest.approx(np.clip(2.0 * left_of_it, -1.0, 1.0), abs=0.06)


def test_linear_policies_stay_within_bounds():
    weights = [[1.0, 0.0], [0.0, 50.0]]
    definition = {"kind": "linear", "low": [-1.0, 0.0], "high": [1.0, 4.0], "weights": weights}
    act = policy_of(definition, 0)
    np.testing.assert_allclose(act(np.zeros(2), 0), [0.0, 2.0])
    np.testing.assert_allclose(act(np.array([0.5, 1.0]), 0), [math.tanh(0.5), 4.0])


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="kind of policy is 'neural'; pass 'random'"):
        policy_of({"kind": "neural"}, 0)


@pytest.mark.parametrize(
    ("task_id", "bins"),
    [
        ("SafetyPointGoal1-v0", [12, 28]),
        ("SafetyCarGoal1-v0", [24, 40]),
        ("SafetyPointCircle1-v0", [12, 28]),
    ],
)
def test_driving_robots_follow_their_lidar(make_env, task_id, bins):
    definition = seeking_definition(task_id, make_env(task_id))
    assert (definition["kind"], definition["bins"]) == ("lidar", bins)
    steps, seeds = 120, [0, 1]
    reached = bridged_rollouts(RolloutJob(task_id, seeds, steps, definition))
    assert reached["lengths"].tolist() == [steps, steps]
    assert (reached["returns"] > 0.5).all()


def test_the_box_is_followed_rather_than_its_goal(make_env):
    definition = seeking_definition("SafetyPointPush1-v0", make_env("SafetyPointPush1-v0"))
    assert definition["bins"] == [60, 76]


def test_given_actions_fill_the_box(make_env):
    actions = given_actions(make_env("SafetyPointGoal1-v0"), [0, 1], 500)
    assert actions.shape == (2, 500, 2)
    assert -1.0 <= actions.min() < -0.99 < 0.99 < actions.max() <= 1.0
    assert not np.array_equal(*actions)


def test_a_job_without_policy_or_actions_is_refused():
    with pytest.raises(ValueError, match="neither policy nor actions; give one"):
        bridged_rollouts(RolloutJob("SafetyPointGoal1-v0", [0], 5))
