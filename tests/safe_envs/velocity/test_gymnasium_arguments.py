"""The arguments of Gymnasium's MuJoCo classes, against its own version 4 classes."""

import copy
import math
import pickle
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode

pytest.importorskip("mujoco")

from safe_envs.velocity.env import SafetyVelocityEnv
from safe_envs.velocity.models import ASSETS
from safe_envs.velocity.robots import ROBOTS

STEPS = 300
OLD_GYMNASIUM = gym.__version__.startswith("0.")  # MuJoCo 3 and 4 do not accept its swimmer
RUNNING = {  # of robots that never fall
    "forward_reward_weight": -0.7,
    "ctrl_cost_weight": 0.3,
    "reset_noise_scale": 0.02,
    "exclude_current_positions_from_observation": False,
    "frame_skip": 3,
}
CASES = {
    "Ant": [
        {
            "ctrl_cost_weight": 0.3,
            "use_contact_forces": True,
            "contact_cost_weight": 2e-3,
            "contact_force_range": (-0.5, 0.75),
            "healthy_reward": 0.7,
            "terminate_when_unhealthy": False,
            "healthy_z_range": (0.5, 0.8),
            "exclude_current_positions_from_observation": False,
        },
        {"healthy_z_range": (0.5, 0.9), "reset_noise_scale": 0.05, "frame_skip": 2},
    ],
    "HalfCheetah": [RUNNING],
    "Hopper": [
        {
            "forward_reward_weight": 1.3,
            "ctrl_cost_weight": 0.02,
            "healthy_reward": 0.4,
            "terminate_when_unhealthy": False,
            "healthy_z_range": (0.6, 1.3),
            "healthy_angle_range": (-0.3, 0.1),
            "healthy_state_range": (-4.0, 5.0),
            "exclude_current_positions_from_observation": False,
        },
        {"healthy_state_range": (-9.0, 3.0), "healthy_z_range": (0.9, math.inf), "frame_skip": 2},
    ],
    "Humanoid": [
        {
            "forward_reward_weight": 0.6,
            "ctrl_cost_weight": 0.2,
            "healthy_reward": 2.0,
            "terminate_when_unhealthy": False,
            "healthy_z_range": (0.9, 1.6),
            "exclude_current_positions_from_observation": False,
        },
        {"healthy_z_range": (1.2, 1.5), "reset_noise_scale": 0.05, "frame_skip": 2},
    ],
    "Swimmer": [RUNNING],
    "Walker2d": [
        {
            "forward_reward_weight": 0.5,
            "ctrl_cost_weight": 0.03,
            "healthy_reward": 0.25,
            "terminate_when_unhealthy": False,
            "healthy_z_range": (0.7, 1.5),
            "healthy_angle_range": (-0.4, 0.2),
            "exclude_current_positions_from_observation": False,
        },
        {"healthy_angle_range": (-0.1, 0.5), "reset_noise_scale": 0.02, "frame_skip": 2},
    ],
}
each_case = pytest.mark.parametrize(
    ("robot", "arguments"),
    [(r, case) for r in CASES if not (OLD_GYMNASIUM and r == "Swimmer") for case in CASES[r]],
)
native = pytest.mark.skipif(AutoresetMode is None, reason="this Gymnasium has no native forms")


def id_of(robot):
    return f"Safety{robot}Velocity-v1"


def assert_same(ours, theirs, velocity, threshold):
    """Compare what a step returned, bit for bit, and the cost with the velocity measured."""
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert (ours[1], bool(ours[2])) == (theirs[1], theirs[2])
    assert {key: ours[4][key] for key in theirs[4]} == theirs[4]
    np.testing.assert_allclose(ours[4]["constraint_values"], velocity - threshold, atol=1e-9)
    assert ours[4]["cost"] == float(velocity > threshold)


@each_case
def test_the_single_form_equals_version_4(robot, arguments, make_v4, start_v4, step_v4):
    threshold = 0.1
    env = gym.make(
        id_of(robot), velocity_threshold=threshold, disable_env_checker=True, **arguments
    )
    v4, rng = make_v4(robot, **arguments), np.random.default_rng(0)
    costs = ends = 0
    env.reset(seed=0)
    start_v4(v4, env.unwrapped.state)
    for _ in range(STEPS):
        action = rng.uniform(env.action_space.low, env.action_space.high)
        theirs, velocity = step_v4(robot, v4, action)
        ours = env.step(action)
        assert_same(ours, theirs, velocity, threshold)
        costs += ours[4]["cost"]
        if ours[2]:
            ends += 1
            observation, _ = env.reset()
            start_v4(v4, env.unwrapped.state)
            np.testing.assert_array_equal(observation, v4._get_obs())
    assert 0 < costs < STEPS
    ending = "healthy_z_range" in arguments or "healthy_angle_range" in arguments
    assert (ends > 0) == (ending and arguments.get("terminate_when_unhealthy", True))
    assert env.observation_space == gym.spaces.Box(-np.inf, np.inf, theirs[0].shape, np.float64)


@native
@each_case
def test_the_native_form_equals_version_4(robot, arguments, make_v4, start_v4, step_v4):
    threshold, rows = 0.1, 2
    venv = gym.make_vec(
        id_of(robot), num_envs=rows, velocity_threshold=threshold, num_threads=1,
        autoreset_mode="Disabled", per_constraint=True, **arguments,
    )  # fmt: skip
    v4s, rng = [make_v4(robot, **arguments) for _ in range(rows)], np.random.default_rng(1)
    over = np.ones(rows, dtype=bool)
    for _ in range(STEPS):
        if over.any():
            observations, _ = venv.reset(options={"reset_mask": over})
            for row in np.flatnonzero(over):
                start_v4(v4s[row], venv.state[row])
                np.testing.assert_array_equal(observations[row], v4s[row]._get_obs())
        actions = rng.uniform(venv.action_space.low, venv.action_space.high)
        *batch, infos = venv.step(actions)
        for row, v4 in enumerate(v4s):
            theirs, velocity = step_v4(robot, v4, actions[row])
            info = {key: values[row] for key, values in infos.items()}
            assert_same((*(each[row] for each in batch), info), theirs, velocity, threshold)
        over = batch[2]
    venv.close()


@pytest.mark.parametrize("robot", ["HalfCheetah", "Hopper"])
def test_starts_with_the_noise_of_version_4(robot, make_v4):
    env, v4 = (make(reset_noise_scale=0.3) for make in (
        lambda **kwargs: gym.make(id_of(robot), **kwargs), lambda **kwargs: make_v4(robot, **kwargs)
    ))  # fmt: skip
    np.testing.assert_array_equal(env.reset(seed=4)[0], v4.reset(seed=4)[0])


@pytest.fixture
def own_model(tmp_path):
    """Return the path of a hopper that is simulated in smaller steps on the moon."""
    text = (ASSETS / "hopper.xml").read_text()
    step = 'timestep="0.002"'
    assert step in text
    path = tmp_path / "my_hopper.xml"
    path.write_text(text.replace(step, 'timestep="0.001" gravity="0 0 -1.62"'))
    return path


def test_takes_an_own_model(own_model, make_v4, start_v4, step_v4):
    """The same as changing these numbers in Gymnasium's model."""
    env = gym.make(id_of("Hopper"), xml_file=own_model, disable_env_checker=True)
    v4 = make_v4("Hopper")
    v4.model.opt.timestep, v4.model.opt.gravity[:] = 0.001, (0.0, 0.0, -1.62)
    env.reset(seed=0)
    start_v4(v4, env.unwrapped.state)
    assert env.unwrapped.dt == v4.dt == 0.004
    assert env.unwrapped.metadata["render_fps"] == 250
    for seed in range(40):
        action = np.random.default_rng(seed).uniform(-1.0, 1.0, 3)
        theirs, velocity = step_v4("Hopper", v4, action)
        assert_same(env.step(action), theirs, velocity, 0.7402)
    own_model.unlink()  # copies need no file
    twin = pickle.loads(pickle.dumps(env))
    np.testing.assert_array_equal(env.step(np.ones(3))[0], twin.step(np.ones(3))[0])


@native
def test_the_native_form_takes_an_own_model(own_model):
    env = gym.make(id_of("Hopper"), xml_file=str(own_model), disable_env_checker=True)
    venv = gym.make_vec(id_of("Hopper"), num_envs=2, xml_file=str(own_model))
    batch, _ = venv.reset(seed=0)
    np.testing.assert_array_equal(env.reset(options={"state": venv.state[1]})[0], batch[1])
    own_model.unlink()
    venv = copy.deepcopy(venv)
    venv.action_space.seed(0)  # none of these actions ends an episode
    for _ in range(20):
        actions = venv.action_space.sample()
        np.testing.assert_array_equal(env.step(actions[1])[0], venv.step(actions)[0][1])


def test_spaces_follow_an_own_model(tmp_path):
    """A hopper with a toe has a joint and a motor more."""
    toe = (
        '<body name="toe"><joint axis="0 -1 0" name="toe" type="hinge" limited="false"/>'
        '<geom type="capsule" size="0.05" fromto="0 0 0 0.2 0 0"/></body>'
    )
    motor = '<motor ctrlrange="-1 1" joint="toe"/>'
    text = (ASSETS / "hopper.xml").read_text()
    text = text.replace("</body>", f"{toe}</body>", 1).replace("</actuator>", f"{motor}</actuator>")
    path = tmp_path / "toe.xml"
    path.write_text(text)
    env = SafetyVelocityEnv("Hopper", xml_file=path)
    assert env.action_space.shape == (4,)
    assert env.observation_space.shape == env.reset(seed=0)[0].shape == (13,)
    assert len(env.init_qpos) == 7


def test_the_threshold_is_an_argument():
    for threshold, cost in ((0.0, 1.0), (1.9, 1.0), (2.1, 0.0)):
        env = SafetyVelocityEnv("HalfCheetah", velocity_threshold=threshold)
        env.reset(seed=0)
        state = np.zeros(18)
        state[9] = 2.0
        _, info = env.reset(options={"state": state})
        assert info["constraint_values"].tolist() == [-threshold]
        _, _, _, _, info = env.step(np.zeros(6))
        assert info["constraint_values"].tolist() == [info["x_velocity"] - threshold]
        assert info["cost"] == cost


@pytest.mark.usefixtures("opengl")
def test_the_ball_is_red_above_the_own_threshold():
    """Two frames of one state differ by the ball alone."""
    frames = []
    for threshold in (1.0, 3.0):
        env = SafetyVelocityEnv(
            "Hopper", None, "rgb_array", velocity_threshold=threshold, width=160, height=160
        )
        state = np.concatenate((env.init_qpos, env.init_qvel))
        state[6] = 2.0
        env.reset(options={"state": state})
        env.step(np.zeros(3))
        frames.append(env.render()[20:30, 75:85].mean(axis=(0, 1)))
        env.close()
    (red, green, _), (safe_red, safe_green, _) = frames
    assert red > 1.5 * green
    assert safe_green > 1.5 * safe_red


@pytest.mark.parametrize("robot", sorted(CASES))
def test_each_robot_has_the_arguments_of_its_class(robot, make_v4):
    """Found by trying them on Gymnasium's class."""
    if OLD_GYMNASIUM and robot == "Swimmer":
        return
    values = {
        name: value for cases in CASES.values() for case in cases for name, value in case.items()
    }
    values.pop("frame_skip")
    for name, value in values.items():
        try:
            make_v4(robot, **{name: value})
            known = True
        except TypeError:
            known = False
        if known:
            SafetyVelocityEnv(robot, **{name: value})
        else:
            pattern = (
                f"the {robot} task got .* argument '{name}'; did you mean .*Known: .*ctrl_cost"
            )
            with pytest.raises(TypeError, match=pattern):
                SafetyVelocityEnv(robot, **{name: value})
    assert {name for name in vars(ROBOTS[robot]) if name in values} == set(values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"velocity_threshold": -1.0}, r"velocity_threshold is -1.0; pass .* >= 0 \[m/s\]"),
        ({"velocity_threshold": np.inf}, r"velocity_threshold is inf; pass a finite number"),
        ({"healthy_reward": "1"}, "healthy_reward is '1'; pass a finite number"),
        ({"healthy_z_range": 0.7}, r"healthy_z_range is 0.7; pass the lowest .* \[m\], low < high"),
        ({"healthy_z_range": (1.0, 0.5)}, r"healthy_z_range is \(1.0, 0.5\); pass the lowest"),
        ({"healthy_angle_range": (0.0, np.nan)}, r"healthy_angle_range is .* \[rad\], low < high"),
        ({"terminate_when_unhealthy": 1}, "terminate_when_unhealthy is 1; pass True or False"),
        ({"reset_noise_scale": -0.1}, "reset_noise_scale is -0.1; pass a finite number >= 0"),
        ({"frame_skip": 0}, "frame_skip is 0; pass a whole number >= 1"),
        ({"per_constraint": "yes"}, "per_constraint is 'yes'; pass True or False"),
        ({"width": 0}, "width is 0; pass a whole number >= 1"),
        ({"camera_name": "trak"}, "camera_name is 'trak'; did you mean 'track'"),
        ({"camera_id": 7}, "camera_id is 7; pass a whole number from 0 to 0, or -1"),
        ({"camera_id": 0, "camera_name": "track"}, "camera_name is 'track' and camera_id is 0"),
        ({"default_camera_config": {"distanse": 1.0}}, "'distanse'; did you mean 'distance'"),
        ({"default_camera_config": {"distance": "far"}}, r"\['distance'\] is 'far'; pass a number"),
        ({"default_camera_config": {"lookat": 1.0}}, r"\['lookat'\] has shape \(\)"),
        ({"default_camera_config": [1]}, r"default_camera_config is \[1\]; pass a dictionary"),
        ({"default_camera_config": {"type": 2}}, r"\['type'\] is 2; pass 0 \(free\) or 1"),
        ({"default_camera_config": {"type": 1}}, r"\['trackbodyid'\] is -1; .* from 0 to 4"),
        ({"default_camera_config": {"trackbodyid": 5}}, r"\['trackbodyid'\] is 5; .* from 0 to 4"),
        ({"visual_options": {99: True}}, "visual_options has the key 99; pass numbers of MuJoCo"),
        ({"visual_options": {"a": True}}, "visual_options has the key 'a'; pass numbers"),
        ({"visual_options": [1]}, r"visual_options is \[1\]; pass numbers"),
        ({"xml_file": 3}, "xml_file is 3; pass the path of a MuJoCo model"),
    ],
)  # fmt: skip
def test_refuses_impossible_arguments(given, message):
    makers = [gym.make] if AutoresetMode is None else [gym.make, gym.make_vec]
    for make in makers:
        with pytest.raises(ValueError, match=message):
            make(id_of("Hopper"), **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cost_limit": 1.0}, "'cost_limit'; did you mean 'cost_limits'"),
        ({"healthy_zrange": (0.5, 1.0)}, "'healthy_zrange'; did you mean 'healthy_z_range'"),
    ],
)
def test_refuses_unknown_arguments(given, message):
    makers = [gym.make] if AutoresetMode is None else [gym.make, gym.make_vec]
    for make in makers:
        with pytest.raises(TypeError, match=message):
            make(id_of("Hopper"), **given)


def test_refuses_models_that_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("robot.xml").write_text("<mujoco><worldbody/></mujoco>")
    Path("wrong.xml").write_text("<mujoco><bodi/></mujoco>")
    hopper = (ASSETS / "hopper.xml").read_text()
    Path("free.xml").write_text(hopper.replace('ctrllimited="true"', 'ctrllimited="false"'))
    Path("nameless.xml").write_text((ASSETS / "ant.xml").read_text().replace('"torso"', '"trunk"'))
    for robot, xml_file, error, message in (
        ("Hopper", "robot.xml", FileNotFoundError, r"did you mean './robot.xml'\?"),
        ("Hopper", "./other.xml", FileNotFoundError, "there is no file other.xml; pass a path"),
        ("Hopper", "./wrong.xml", ValueError, "wrong.xml does not compile: .*bodi"),
        ("Hopper", "./robot.xml", ValueError, "has 0 joint positions but the task of Hopper reads"),
        ("Hopper", "./free.xml", ValueError, "give each a ctrlrange"),
        ("Ant", "./nameless.xml", ValueError, "no body named 'torso', whose speed"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            SafetyVelocityEnv(robot, xml_file=xml_file)


def test_the_spec_carries_the_arguments():
    given = {"ctrl_cost_weight": 0.25, "healthy_z_range": (0.8, 1.3), "velocity_threshold": 0.5}
    env = gym.make(id_of("Hopper"), **given)
    assert given.items() <= env.unwrapped.spec.kwargs.items()
    for other in (gym.make(env.spec), pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        for each in (env, other):
            each.reset(seed=2)
        for _ in range(3):
            ours, theirs = env.step(np.ones(3)), other.step(np.ones(3))
            np.testing.assert_array_equal(ours[0], theirs[0])
            assert ours[1:4] == theirs[1:4]
            np.testing.assert_equal(ours[4], theirs[4])
