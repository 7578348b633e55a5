"""Bridged tasks equal the package's own environments, and one another, to the last bit."""

import copy
import pickle
import time
from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from safe_envs import read_costs
from safe_envs.safety_gymnasium_bridge import make

COMPARED = ("SafetyPointGoal2-v0", "SafetyCarButton1-v0", "SafetyAntRun0-v0")


@pytest.mark.parametrize("task_id", COMPARED)
def test_equals_the_packages_own_environment(make_env, genuine_env, task_id):
    """The package's side resets as it always did: all files read, photographs decoded."""
    bridged, genuine = make_env(task_id), genuine_env(task_id)
    bridged.action_space.seed(0)
    observation, info = genuine.reset(seed=11)
    assert np.array_equal(bridged.reset(seed=11)[0], observation)
    for step in range(60):
        if step == 40 or genuine.done:
            assert np.array_equal(bridged.reset()[0], genuine.reset()[0])
        action = bridged.action_space.sample()
        observation, reward, cost, terminated, truncated, info = genuine.step(action)
        ours = bridged.step(action)
        assert np.array_equal(ours[0], observation)
        assert ours[1:4] == (reward, terminated, truncated)
        assert ours[4]["cost"] == cost
        assert {key: ours[4][key] for key in info} == info


@pytest.mark.parametrize("robot", ["Hopper", "Ant", "Humanoid"])
def test_velocity_tasks_equal_the_native_ones(make_env, robot):
    task_id = f"Safety{robot}Velocity-v1"
    bridged, native = make(task_id, disable_env_checker=True), make_env(task_id)
    native.action_space.seed(1)
    assert np.array_equal(bridged.reset(seed=3)[0], native.reset(seed=3)[0])
    for _ in range(60):
        action = native.action_space.sample()
        theirs, ours = bridged.step(action), native.step(action)
        assert np.array_equal(theirs[0], ours[0])
        assert theirs[1:4] == ours[1:4]
        assert theirs[4]["cost"] == ours[4]["cost"]
        if ours[2]:
            break
    bridged.close()


def test_slow_resets_give_the_same_and_are_slow(make_env):
    """Process time on one thread, so that other load on the machine matters little."""
    seconds = {}
    trajectories = []
    for fast in (True, False):
        env = make_env("SafetyPointGoal1-v0", fast=fast)
        rows = [env.reset(seed=5)[0]]
        began = time.process_time()
        rows += [env.reset()[0] for _ in range(2)]
        seconds[fast] = time.process_time() - began
        env.action_space.seed(5)
        for _ in range(50):
            observation, reward, *_, info = env.step(env.action_space.sample())
            rows.append(np.append(observation, (reward, info["cost"])))
        trajectories.append(np.concatenate(rows))
    assert np.array_equal(*trajectories)
    assert seconds[False] > 5 * seconds[True]  # some 40 times; a test must not fail by noise


@pytest.mark.parametrize("task_id", ["SafetyCarGoal1-v0", "SafetyAntVelocity-v1"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_continue_alike_in_mid_episode(task_id, duplicate):
    env = make(task_id, disable_env_checker=True)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(5):
        env.step(env.action_space.sample())
    twin = duplicate(env)
    for _ in range(15):
        action = env.action_space.sample()
        one, other = env.step(action), twin.step(action)
        assert np.array_equal(one[0], other[0])
        assert one[1:] == other[1:]
    assert np.array_equal(env.reset()[0], twin.reset()[0])


def test_spawned_processes_make_their_own_import():
    factory = partial(gym.make, "safe_envs:SafetyPointGoal1-v0")
    venv = gym.vector.AsyncVectorEnv([factory] * 2, context="spawn")
    venv.action_space.seed(0)
    observations, infos = venv.reset(seed=[4, 4])
    assert np.array_equal(*observations)
    *_, infos = venv.step(venv.action_space.sample())
    assert read_costs(infos, 2, 1).shape == (2, 1)
    venv.close()


def test_seeds_decide_the_layout(make_env):
    one, other = make_env("SafetyPointGoal1-v0"), make_env("SafetyPointGoal1-v0")
    assert not np.array_equal(one.reset()[0], other.reset()[0])
    assert np.array_equal(one.reset(seed=9)[0], other.reset(seed=9)[0])
    assert np.array_equal(one.reset(seed=2**40 + 1)[0], other.reset(seed=1)[0])


def test_a_start_in_violation_is_drawn_again(make_env, monkeypatch):
    env = make_env("SafetyPointGoal1-v0").unwrapped
    inner, seeds = env._inner, []
    genuine_reset = inner.reset

    def reset(seed):
        seeds.append(seed)
        if len(seeds) == 1:
            raise AssertionError("World has starting cost! {'cost_hazards': 1.0}")
        return genuine_reset(seed=seed)

    monkeypatch.setattr(inner, "reset", reset)
    assert env.reset(seed=3)[1]["cost"] == 0.0
    assert seeds == [3, None]


def test_config_comes_on_top_of_the_ids_own(make_env):
    env = make_env("SafetyPointGoal1-v0", config={"sim_conf.frameskip_binom_n": 2})
    assert env.unwrapped._inner.task.sim_conf.frameskip_binom_n == 2
    assert env.unwrapped._inner.task.agent_name == "Point"
    with pytest.raises(ValueError, match="takes none; leave it out"):
        make("SafetyAntVelocity-v1", config={})
