"""Multi-agent velocity tasks, against the package's own stack, PettingZoo's tests and thresholds.

The reference is safety-gymnasium 1.0.0 with gymnasium-robotics 1.2.2, Gymnasium 0.28.1 and MuJoCo
2.3.3: `safety_gymnasium.make_ma(robot, division)`, `reset(seed=0)`, one step with actions from
`numpy.random.default_rng(0)`, agent by agent, as float32.
"""

import copy
import pickle
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.transition_values import plain_entries
from safe_envs.safety_gymnasium_bridge import multi_agent
from safe_envs.safety_gymnasium_bridge.multi_agent import VELOCITY_THRESHOLDS, make_multi_agent

pytest.importorskip("gymnasium_robotics")
TASKS = [(robot, division) for robot, each in VELOCITY_THRESHOLDS.items() for division in each]
CONTACTS = ("Ant", "Humanoid")  # whose contacts another MuJoCo solves differently after one step
# Per task: lengths of the observations, then observation . cos(0, 1, 2, ...) of each agent after
# reset and after the step, then its reward and cost.
REFERENCE = {
    ("Ant", "2x4"): (
        [21, 21],
        [-0.0873822, -0.282540773],
        [15.931591104, -11.7653327],
        -0.78645193,
        0.0,
    ),
    ("Ant", "4x2"): (
        [18, 18, 18, 18],
        [-0.386449621, -0.137004238, -0.061697007, 0.020259827],
        [0.963331991, -3.462181181, -10.181486568, 3.495595135],
        -0.78645193,
        0.0,
    ),
    ("HalfCheetah", "6x1"): (
        [9, 9, 8, 9, 9, 8],
        [-0.434541736, -0.052832206, 0.002126198, -0.188476601, -0.173290037, -0.014500404],
        [1.886600103, -4.124311771, -4.916477488, -6.797925507, 3.589184354, 4.611858026],
        -0.66403977,
        0.0,
    ),
    ("HalfCheetah", "2x3"): (
        [12, 12],
        [0.174808147, 0.045118296],
        [1.640430021, -4.884638579],
        -0.66403977,
        0.0,
    ),
    ("Hopper", "3x1"): (
        [8, 9, 8],
        [-1.233163878, -0.806253308, -1.22923902],
        [-0.971119641, -1.224287284, -1.924767393],
        0.97191138,
        0.0,
    ),
    ("Humanoid", "9|8"): (
        [248, 176],
        [-7.807486654, 0.043848253],
        [26.788306065, 61.186450376],
        4.87296935,
        0.0,
    ),
    ("Swimmer", "2x1"): (
        [6, 6],
        [-0.044721988, 0.206721004],
        [-0.628231013, 0.923690162],
        0.12426480,
        1.0,
    ),
    ("Walker2d", "2x3"): (
        [11, 11],
        [0.947274976, 0.923245451],
        [4.319946492, -6.064464224],
        0.93149815,
        0.0,
    ),
}


def random_actions(env, generator):
    return {
        agent: generator.uniform(space.low, space.high).astype(np.float32)
        for agent, space in env.action_spaces.items()
    }


def sums(observations):
    return [float(o @ np.cos(np.arange(len(o)))) for o in observations.values()]


@pytest.mark.parametrize(("robot", "division"), TASKS)
def test_first_step_is_that_of_the_genuine_stack(robot, division):
    lengths, after_reset, after_step, reward, cost = REFERENCE[robot, division]
    env = make_multi_agent(robot, division)
    observations, _ = env.reset(seed=0)
    assert [len(o) for o in observations.values()] == lengths
    np.testing.assert_allclose(sums(observations), after_reset, atol=2e-9)
    observations, rewards, _, _, infos = env.step(random_actions(env, np.random.default_rng(0)))
    tolerance = 1e-4 if robot in CONTACTS else 2e-9
    np.testing.assert_allclose(sums(observations), after_step, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(list(rewards.values()), reward, atol=1e-4)
    assert {info["cost"] for info in infos.values()} == {cost}


@pytest.mark.parametrize(("robot", "division"), TASKS)
def test_cost_follows_the_threshold(robot, division):
    env = make_multi_agent(robot, division)
    env.reset(seed=1)
    body = env._inner.single_agent_env.unwrapped
    threshold, total = VELOCITY_THRESHOLDS[robot][division], 0.0
    resting = {agent: np.zeros(space.shape) for agent, space in env.action_spaces.items()}
    for speed in (0.0, 3.0 * threshold + 0.5):
        env.reset(seed=1)
        velocity = np.zeros(body.model.nv)
        velocity[0] = speed
        body.set_state(body.data.qpos.copy(), velocity)
        info = env.step(resting)[4]["agent_0"]
        measured = np.hypot(info["x_velocity"], info.get("y_velocity", 0.0))
        measured = info["x_velocity"] if robot == "Swimmer" else measured
        assert info["cost"] == info["episode_cost"] == float(measured > threshold)
        total += info["cost"]
    assert total == 1.0  # at rest none, fast one


@pytest.mark.parametrize(("robot", "division"), [("Ant", "2x4"), ("Hopper", "3x1")])
def test_pettingzoo_finds_nothing(robot, division):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of PettingZoo's own imports
        from pettingzoo.test import parallel_api_test, parallel_seed_test
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        parallel_api_test(make_multi_agent(robot, division), num_cycles=60)
        parallel_seed_test(lambda: make_multi_agent(robot, division), num_cycles=20)


def test_costs_add_up_and_agents_leave_at_the_end():
    env = make_multi_agent("Swimmer", "2x1", cost_limits=40.0, reset_noise_scale=0.0)
    assert [c.limit for c in env.constraints] == [40.0]
    generator = np.random.default_rng(3)
    observations, infos = env.reset(seed=0)
    assert {info["cost"] for info in infos.values()} == {0.0}
    total, ended = 0.0, False
    while not ended:
        observations, _, _, truncated, infos = env.step(random_actions(env, generator))
        total += infos["agent_1"]["cost"]
        assert infos["agent_0"]["episode_cost"] == total
        ended = truncated["agent_0"]
    assert total > 0.0
    assert env.agents == []
    assert all(env.observation_space(a).contains(o) for a, o in observations.items())
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.step(random_actions(env, generator))


@pytest.mark.parametrize(
    ("distance", "lengths"), [(0, [19, 19]), (1, [21, 21]), (2, [23, 23]), (3, [23, 23])]
)
def test_agents_see_as_far_as_in_the_genuine_stack(distance, lengths):
    env = make_multi_agent("Ant", "2x4", agent_obsk=distance)
    assert [len(o) for o in env.reset(seed=0)[0].values()] == lengths


def test_thresholds_are_the_packages():
    make_multi_agent("Swimmer", "2x1")
    from safety_gymnasium.tasks.safe_multi_agent import safe_mujoco_multi

    assert safe_mujoco_multi.TASK_VELCITY_THRESHOLD == VELOCITY_THRESHOLDS


def test_infos_are_each_agents_own():
    env = make_multi_agent("Swimmer", "2x1")
    _, infos = env.reset(seed=0)
    infos["agent_0"]["mark"] = 1
    assert "mark" not in infos["agent_1"]


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="no multi-agent task 'Ant' '8x1'.*Ant 2x4, Ant 4x2"):
        make_multi_agent("Ant", "8x1")
    with pytest.raises(ValueError, match="no multi-agent task 'Point'"):
        make_multi_agent("Point", "2x1")
    with pytest.raises(ValueError, match="render_mode is 'ansi'"):
        make_multi_agent("Ant", "2x4", render_mode="ansi")
    env = make_multi_agent("Swimmer", "2x1")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions for \['agent_0'\]; pass one for each"):
        env.step({"agent_0": np.zeros(1)})
    with pytest.raises(ValueError, match="shape"):
        env.step({"agent_0": np.zeros(2), "agent_1": np.zeros(1)})


def test_missing_package_is_told(monkeypatch):
    monkeypatch.setattr(multi_agent, "find_spec", lambda name: None)
    with pytest.raises(gym.error.DependencyNotInstalled, match=r"safe-envs\[multi-agent\]"):
        make_multi_agent("Ant", "2x4")


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, pickle.dumps])
def test_copies_are_refused(copied):
    with pytest.raises(TypeError, match="make another with make_multi_agent"):
        copied(make_multi_agent("Swimmer", "2x1"))


def test_a_frame_shows_the_robot():
    env = make_multi_agent("Ant", "4x2", render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    env.step(random_actions(env, np.random.default_rng(0)))
    second = env.render()
    env.close()
    assert first.shape == second.shape == (480, 480, 3)
    assert first.std() > 0.0
    assert (first != second).any()


@pytest.mark.parametrize(("robot", "division"), [("Ant", "2x4"), ("Swimmer", "2x1")])
def test_infos_are_numpys(robot, division):
    """Numbers as the robot's simulator has them, until the end of an episode."""
    robots = make_multi_agent(robot, division, max_episode_steps=3)
    _, infos = robots.reset(seed=0)
    assert all(list(plain_entries(infos[agent])) == [] for agent in infos)
    while robots.agents:
        *_, infos = robots.step(random_actions(robots, np.random.default_rng(0)))
        for info in infos.values():
            assert list(plain_entries(info)) == []
            assert type(info["cost"]) is type(info["episode_cost"]) is np.float64
            position = robots._inner.single_agent_env.unwrapped.data.qpos[0]
            assert info["x_position"] == pytest.approx(position, abs=0.01)  # [m]
    robots.close()


@pytest.mark.parametrize(
    ("given", "meant"), [("cost_limit", "cost_limits"), ("healthy_rewards", "healthy_reward")]
)
def test_unknown_arguments_are_refused_with_the_closest(given, meant):
    refusal = rf"make_multi_agent\(\) got .* argument '{given}'; did you mean '{meant}'"
    with pytest.raises(TypeError, match=refusal):
        make_multi_agent("Ant", "2x4", **{given: 1})


@pytest.mark.skipif(sys.platform != "linux", reason="takes a screen away by its variables")
def test_a_window_without_a_screen_is_refused(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError, match="render_mode='human' needs a screen"):
        make_multi_agent("Swimmer", "2x1", render_mode="human")
    assert "human" not in make_multi_agent("Swimmer", "2x1").metadata["render_modes"]
