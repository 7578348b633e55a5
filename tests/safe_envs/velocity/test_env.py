"""The velocity tasks against Gymnasium's own version 4 classes and the published numbers."""

import copy
import sys

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("mujoco")

from safe_envs.rendering import offscreen_scene
from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity import models
from safe_envs.velocity.env import SafetyVelocityEnv
from safe_envs.velocity.models import compiled_model
from safe_envs.velocity.physics import RobotPhysics, shared_physics
from safe_envs.velocity.robots import ROBOTS, robot_named

NUMBERS = {  # robot: threshold [m/s] and step [s], as published
    "Ant": (2.6222, 0.05),
    "HalfCheetah": (3.2096, 0.05),
    "Hopper": (0.7402, 0.008),
    "Humanoid": (1.4149, 0.015),
    "Swimmer": (0.2282, 0.04),
    "Walker2d": (2.3415, 0.008),
}
OLD_GYMNASIUM = gym.__version__.startswith("0.")  # MuJoCo 3 and 4 do not accept its swimmer
each_robot = pytest.mark.parametrize(
    "robot", [r for r in sorted(ROBOTS) if not (OLD_GYMNASIUM and r == "Swimmer")]
)


@each_robot
def test_equals_gymnasium_version_4(robot, make_v4, start_v4, step_v4):
    """Bit for bit, from the same states with the same actions; half of them start too fast."""
    threshold, _ = NUMBERS[robot]
    v4, env = make_v4(robot), SafetyVelocityEnv(robot)
    steps = costs = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        env.reset(seed=seed)
        state = env.state
        state[v4.model.nq] += 6.0 * (seed % 2)
        observation, _ = env.reset(options={"state": state})
        start_v4(v4, state)
        np.testing.assert_array_equal(observation, v4._get_obs())
        for _ in range(200):
            action = rng.uniform(env.action_space.low, env.action_space.high)
            expected, velocity = step_v4(robot, v4, action)
            observation, reward, terminated, truncated, info = env.step(action)
            np.testing.assert_array_equal(observation, expected[0])
            assert (reward, terminated, truncated) == (expected[1], expected[2], False)
            assert {key: info[key] for key in expected[4]} == expected[4]
            np.testing.assert_allclose(info["constraint_values"], velocity - threshold, atol=1e-9)
            assert info["cost"] == float(velocity > threshold)
            steps, costs = steps + 1, costs + info["cost"]
            if terminated:
                break
    assert steps > 40
    assert costs > 0


@each_robot
def test_starts_as_gymnasium_version_4(robot, make_v4):
    env = SafetyVelocityEnv(robot)
    ours, _ = env.reset(seed=11)
    theirs, _ = make_v4(robot).reset(seed=11)
    if robot not in ("Ant", "Humanoid"):  # without a floating base
        np.testing.assert_array_equal(ours, theirs)
        return
    turned = slice(1, 5)  # the root's quaternion in the observation
    assert np.linalg.norm(ours[turned]) == pytest.approx(1.0, abs=1e-15)
    theirs[turned] /= np.linalg.norm(theirs[turned])
    moved = slice(0, len(env.state) - 2)  # the joints; body velocities depend on the rotation
    np.testing.assert_allclose(ours[moved], theirs[moved], rtol=0, atol=1e-15)


@each_robot
def test_published_numbers(robot, make_env):
    threshold, dt = NUMBERS[robot]
    env = make_env(f"Safety{robot}Velocity-v1")
    _, info = env.reset(seed=0)
    assert info["constraint_values"].tolist() == [-threshold]
    assert env.unwrapped.constraints[0].limit == 25.0
    assert env.spec.max_episode_steps == 1000
    _, _, _, _, after = env.step(env.action_space.sample())
    moved = after["x_position"] - info["x_position"]
    assert moved / after["x_velocity"] == pytest.approx(dt, rel=1e-9)
    assert info.keys() == after.keys()


@each_robot
def test_backward_costs_only_where_the_norm_is_limited(robot):
    env = SafetyVelocityEnv(robot)
    costs = {}
    for speed in (-6.0, 6.0):
        env.reset(seed=0)
        state = env.state
        state[len(env.init_qpos)] = speed
        env.reset(options={"state": state})
        _, _, _, _, info = env.step(np.zeros(env.action_space.shape))
        assert np.sign(info["x_velocity"]) == np.sign(speed)
        costs[speed] = info["cost"]
    assert costs == {-6.0: float(robot in ("Ant", "Humanoid")), 6.0: 1.0}


def test_body_positions_are_not_those_of_the_joints():
    """The trap: Ant's velocity is that of the last integrator stage, 0.03 m/s off at times."""
    env = SafetyVelocityEnv("Ant")
    env.reset(seed=0)
    gaps = []
    for _ in range(30):
        before = env.state[0]
        action = env.action_space.sample()
        _, _, terminated, _, info = env.step(action)
        gaps.append(abs((env.state[0] - before) / 0.05 - info["x_velocity"]))
        if terminated:
            env.reset()
    assert 1e-5 < max(gaps) < 0.2


@each_robot
def test_a_state_is_kept_as_it_was_given(robot):
    env = SafetyVelocityEnv(robot)
    env.reset(seed=3)
    for _ in range(5):
        env.step(env.action_space.sample())
    state = env.state
    env.reset(options={"state": state})
    once = env.state
    np.testing.assert_allclose(once, state, rtol=0, atol=1e-15)
    env.reset(options={"state": once})
    np.testing.assert_array_equal(env.state, once)


def test_a_deep_copy_in_mid_episode_continues_identically():
    env = SafetyVelocityEnv("Humanoid")
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(8):
        env.step(env.action_space.sample())
    twin = copy.deepcopy(env)
    for _ in range(10):
        action = env.action_space.sample()
        ours, theirs = env.step(action), twin.step(action)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("robot", ["HalfCheetah", "Ant"])
def test_an_interrupted_step_is_as_if_it_had_never_begun(robot, monkeypatch):
    """MuJoCo's data is ahead of the state then."""
    env, twin = SafetyVelocityEnv(robot), SafetyVelocityEnv(robot)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (20, *env.action_space.shape))
    env.reset(seed=0), twin.reset(seed=0)
    for action in actions[:10]:
        env.step(action), twin.step(action)
    with monkeypatch.context() as patch:
        patch.setattr(RobotPhysics, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            env.step(actions[0])
    for action in actions[10:]:
        np.testing.assert_equal(env.step(action), twin.step(action))


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_the_ball_above_a_speeding_robot_is_red(make_env):
    env = make_env("SafetyHopperVelocity-v1", render_mode="rgb_array")
    balls = []
    for speed in (0.0, 3.0):
        env.reset(seed=0)
        state = env.unwrapped.state
        state[6] = speed
        env.reset(options={"state": state})
        _, _, _, _, info = env.step(np.zeros(3))
        assert info["cost"] == float(speed > 0)
        balls.append(env.render()[60:90, 225:255].mean(axis=(0, 1)))
    (safe_red, safe_green, _), (fast_red, fast_green, _) = balls
    assert safe_green > 1.5 * safe_red
    assert fast_red > 1.5 * fast_green


def test_error_says_what_to_install_when_nothing_draws(monkeypatch):
    def missing(name):
        raise ImportError(f"no {name}")

    monkeypatch.setattr(offscreen_scene, "import_module", missing)
    with pytest.raises(RuntimeError, match="no mujoco.egl.*apt-get install libegl1"):
        offscreen_scene.open_context(8, 8)


def test_error_says_what_to_install_without_mujoco(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    shared_physics.cache_clear()
    with pytest.raises(
        gym.error.DependencyNotInstalled, match=r'pip install "safe-envs\[mujoco\]"'
    ):
        gym.make("SafetyAntVelocity-v1")


def test_compiles_without_warnings(monkeypatch, tmp_path, capfd):
    """HalfCheetah's model has an old attribute, which MuJoCo would report in MUJOCO_LOG.TXT."""
    monkeypatch.chdir(tmp_path)
    handler = load_mujoco().get_mju_user_warning()
    models._shared_model.cache_clear()
    compiled_model(robot_named("HalfCheetah"))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert load_mujoco().get_mju_user_warning() is handler


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.zeros(28), r"pass an array of shape \(29,\): qpos \(15\) and qvel \(14\)"),
        (np.full(29, np.nan), "contains NaN or infinite entries"),
        (np.zeros(29), r"quaternion qpos\[3:7\] is zero; pass a rotation"),
    ],
)
def test_refuses_impossible_states(state, message):
    with pytest.raises(ValueError, match=message):
        SafetyVelocityEnv("Ant").reset(options={"state": state})


def test_error_says_to_upgrade_when_a_model_does_not_compile(monkeypatch, tmp_path):
    (tmp_path / "swimmer.xml").write_text('<mujoco><option collision="predefined"/></mujoco>')
    monkeypatch.setattr(models, "ASSETS", tmp_path)
    with pytest.raises(RuntimeError, match="swimmer.xml of gymnasium .* pip install -U gymnasium"):
        compiled_model(robot_named("Swimmer"))


def test_refuses_unknown_robots_and_calls_before_reset():
    with pytest.raises(ValueError, match="robot is 'Hoper'.*did you mean 'Hopper'"):
        SafetyVelocityEnv("Hoper")
    env = SafetyVelocityEnv("Hopper")
    for call in (lambda: env.step(np.zeros(3)), env.render, lambda: env.state):
        with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before"):
            call()
