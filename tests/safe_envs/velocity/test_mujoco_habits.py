"""What users do with Gymnasium's MuJoCo environments works alike on the velocity tasks."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("mujoco")

from safe_envs.rendering.mujoco_package import load_mujoco
from safe_envs.velocity.env import SafetyVelocityEnv
from safe_envs.velocity.robots import ROBOTS

OLD_GYMNASIUM = gym.__version__.startswith("0.")  # MuJoCo 3 and 4 do not accept its swimmer
each_robot = pytest.mark.parametrize(
    "robot", [r for r in sorted(ROBOTS) if not (OLD_GYMNASIUM and r == "Swimmer")]
)
FIELDS = (
    "time", "qpos", "qvel", "qacc", "qacc_warmstart", "ctrl", "xpos", "xipos", "xquat", "cvel",
    "cinert", "cfrc_ext", "qfrc_actuator", "qfrc_constraint", "ncon", "nefc", "subtree_com",
    "actuator_force", "geom_xpos", "xfrc_applied",
)  # fmt: skip
FALLS = ("Ant", "Hopper", "Humanoid", "Walker2d")


def data_of(env):
    return {name: copy.copy(getattr(env.data, name)) for name in FIELDS}


def stand(env):
    """Begin in the standing pose, as a user does who wants to be exact."""
    env.reset(seed=0)
    load_mujoco().mj_resetData(env.model, env.data)
    env.set_state(env.init_qpos, env.init_qvel)


class Script:
    """One user's script; `seen` holds everything that it reads from the environment."""

    def __init__(self, env, robot):
        self.env, self.robot, self.seen = env, robot, []
        self.rng = np.random.default_rng(0)

    def steps(self, count):
        for _ in range(count):
            action = self.rng.uniform(-0.4, 0.4, self.env.model.nu)
            observation, reward, terminated, _, info = self.env.step(action)
            entries = {key: info[key] for key in info if key.startswith(("x_", "y_", "reward"))}
            self.seen += [observation, reward, terminated, entries, data_of(self.env)]

    def write_data(self):
        env = self.env
        env.data.qvel[0] = 1.5
        self.steps(2)
        env.data.qpos[1] += 0.05
        load_mujoco().mj_forward(env.model, env.data)
        self.seen += [env._get_obs(), data_of(env)]
        self.steps(2)
        env.data.xfrc_applied[1, 0] = 3.0  # a push
        self.steps(2)

    def change_model(self):
        model = self.env.model
        model.opt.gravity[2] = -5.0
        model.body_mass[1:] *= 1.1
        model.opt.timestep *= 0.5
        self.seen.append(self.env.dt)
        self.steps(3)

    def call(self):
        env = self.env
        env.do_simulation(np.full(env.model.nu, 0.1), 3)
        self.seen += [env.state_vector(), env.get_body_com("torso").copy(), data_of(env)]
        env.set_state(env.init_qpos + 0.01, env.init_qvel - 0.1)
        self.seen += [env.state_vector(), env._get_obs()]
        if self.robot in FALLS:
            self.seen += [env.is_healthy, env.healthy_reward]
        self.steps(2)

    def start_elsewhere(self):
        env = self.env
        env.init_qpos[1] += 0.02
        env.init_qvel = env.init_qvel + 0.1
        env.reset(seed=3)
        if self.robot not in ("Ant", "Humanoid"):  # whose quaternion is normalized here
            self.seen.append(data_of(env))
            self.steps(1)


@each_robot
def test_one_script_gives_the_same_numbers(robot, make_v4):
    seen = []
    for env in (make_v4(robot), gym.make(f"Safety{robot}Velocity-v1").unwrapped):
        script = Script(env, robot)
        script.seen += [env.dt, env.frame_skip, env.init_qpos.copy(), env.init_qvel.copy()]
        stand(env)
        script.steps(4)
        script.write_data()
        script.change_model()
        script.call()
        script.start_elsewhere()
        seen.append(script.seen)
    for ours, theirs in zip(*seen, strict=True):
        np.testing.assert_equal(ours, theirs)


@each_robot
@pytest.mark.parametrize("way", ["itself", "pickle", "deepcopy"])
def test_data_asked_for_late_is_that_of_the_last_step(robot, way, make_v4, start_v4):
    """The first to ask finds what Gymnasium's environment has, bodies and forces included."""
    env = SafetyVelocityEnv(robot)
    v4, rng = make_v4(robot), np.random.default_rng(2)
    env.reset(seed=1)
    start_v4(v4, env.state)
    for _ in range(6):
        action = rng.uniform(-0.4, 0.4, env.action_space.shape)
        env.step(action), v4.step(action)
    if way != "itself":
        env = pickle.loads(pickle.dumps(env)) if way == "pickle" else copy.deepcopy(env)
    np.testing.assert_equal(data_of(env), data_of(v4))
    twin = pickle.loads(pickle.dumps(env)) if way == "pickle" else copy.deepcopy(env)
    twin.model.opt.gravity[2] = -9.81  # its own: nothing changes anywhere
    for _ in range(4):
        action = rng.uniform(-0.4, 0.4, env.action_space.shape)
        theirs = v4.step(action)[:2]
        for each in (env, twin):
            np.testing.assert_equal(each.step(action)[:2], theirs)
            np.testing.assert_equal(data_of(each), data_of(v4))
    env.model.opt.gravity[2] = 0.0
    assert twin.model.opt.gravity[2] == -9.81


@each_robot
def test_asking_changes_nothing(robot):
    """Model and data may be read at any time: before the first reset, after one, in between."""
    plain, asked = SafetyVelocityEnv(robot), SafetyVelocityEnv(robot)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(asked.data.qpos, asked.init_qpos)
    data = asked.data
    for seed in range(2):
        ours, theirs = asked.reset(seed=seed), plain.reset(seed=seed)
        np.testing.assert_equal(ours, theirs)
        for _ in range(10):
            action = rng.uniform(-0.4, 0.4, plain.action_space.shape)
            np.testing.assert_equal(asked.step(action), plain.step(action))
            np.testing.assert_array_equal(asked.state, plain.state)
            np.testing.assert_array_equal(asked.state_vector(), plain.state_vector())
        assert asked.data is data
    np.testing.assert_array_equal(plain.data.qpos, asked.data.qpos)


def test_a_changed_model_is_that_of_one_environment():
    ids, made = "SafetyHopperVelocity-v1", []
    for gravity in (None, -2.0, None):
        env = gym.make(ids, disable_env_checker=True)
        if gravity is not None:
            env.unwrapped.model.opt.gravity[2] = gravity
        env.reset(seed=0)
        made.append([env.step(np.zeros(3))[0] for _ in range(5)])
    np.testing.assert_array_equal(made[0], made[2])
    assert not np.array_equal(made[0], made[1])


def test_healthy_reward_follows_the_state():
    env = SafetyVelocityEnv("Hopper", terminate_when_unhealthy=False, healthy_reward=0.5)
    env.reset(seed=0)
    assert (env.is_healthy, env.healthy_reward) == (True, 0.5)
    fallen = env.init_qpos.copy()
    fallen[1] = 0.3
    env.set_state(fallen, env.init_qvel)
    assert (env.is_healthy, env.healthy_reward) == (False, 0.0)
    assert SafetyVelocityEnv("Swimmer").healthy_reward == 0.0 if not OLD_GYMNASIUM else True


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: env.set_state(np.zeros(5), np.zeros(6)), r"qpos has shape \(5,\); pass"),
        (lambda env: env.set_state(np.zeros(6), np.full(6, np.nan)), "qvel .* NaN or infinite"),
        (lambda env: env.do_simulation(np.zeros(2), 1), r"ctrl has shape \(2,\)"),
        (lambda env: env.do_simulation(np.zeros(3), 0), "n_frames is 0"),
        (lambda env: env.mujoco_renderer.render("ansi"), "render_mode is 'ansi'; pass one of"),
    ],
)  # fmt: skip
def test_refuses_impossible_calls(call, message):
    env = SafetyVelocityEnv("Hopper")
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=message):
        call(env)
    np.testing.assert_array_equal(env.state, before)


@pytest.mark.usefixtures("opengl")
def test_frames_follow_data_and_cameras():
    size = {"width": 96, "height": 64}
    env = SafetyVelocityEnv("Walker2d", None, "rgb_array", **size)
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (64, 96, 3)
    renderer = env.mujoco_renderer
    assert (renderer.width, renderer.height, renderer.camera_id) == (96, 64, 0)
    renderer.viewer.cam.azimuth = 70.0  # of the free camera
    assert env.data.time == 0.0
    np.testing.assert_array_equal(env.render(), first)  # reading data changes no frame
    assert renderer.viewer.cam.azimuth == 70.0
    env.data.qpos[2] = 1.0
    leaning = env.render()
    np.testing.assert_array_equal(renderer.render("rgb_array"), leaning)
    assert not np.array_equal(leaning, first)
    renderer.camera_id = -1
    free = env.render()
    renderer.viewer.cam.distance *= 2.0
    far = env.render()
    frames = [first, leaning, free, far]
    assert all(not np.array_equal(a, b) for a in frames for b in frames if a is not b)
    with pytest.raises(ValueError, match="camera_id is 5; pass a whole number from 0 to 0, or -1"):
        renderer.camera_id = 5
    env.close()


@pytest.mark.usefixtures("opengl")
def test_the_default_camera_is_configured():
    config = {"trackbodyid": 1, "distance": 3.0, "elevation": -20.0, "lookat": (0.0, 0.0, 1.1)}
    env = SafetyVelocityEnv(
        "Hopper", None, "rgb_array", width=64, height=64, default_camera_config=config
    )
    env.reset(seed=0)
    env.render()
    camera = env.mujoco_renderer.viewer.cam
    assert (camera.distance, camera.elevation, camera.trackbodyid) == (3.0, -20.0, 1)
    state = env.state
    near = env.render()
    env.reset(options={"state": state + np.eye(12)[0] * 7.0})  # 7 m on
    env.render()
    assert 1.0 < camera.lookat[0] < 7.2  # older releases of MuJoCo follow little by little
    assert near.std() > 0
    env.close()


@pytest.fixture
def gymnasium_viewer():
    """Return Gymnasium's viewer, in an OpenGL context of its own."""
    pytest.importorskip("imageio")  # which Gymnasium imports
    from safe_envs.safety_gymnasium_bridge.viewer import SeparateViewer

    return SeparateViewer


@pytest.mark.usefixtures("opengl")
def test_depths_are_those_of_gymnasiums_viewer(gymnasium_viewer):
    """Its viewer draws the same model and data with the same camera."""
    env = SafetyVelocityEnv("Hopper", None, "rgb_array", width=96, height=64)
    env.reset(seed=0)
    env.step(np.ones(3))
    ours = env.mujoco_renderer.render("depth_array")
    viewer = gymnasium_viewer(env.model, env.data, 96, 64)
    theirs = viewer.render("depth_array", env.mujoco_renderer.camera_id)
    viewer.free()
    assert (ours.shape, ours.dtype) == ((64, 96), np.float32)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert ours.std() > 0
    frame, depths = env.mujoco_renderer.render("rgbd_tuple")
    np.testing.assert_array_equal(frame, env.render())
    np.testing.assert_array_equal(depths, ours)
    env.close()


@pytest.mark.usefixtures("opengl")
def test_frames_may_be_larger_than_the_models_buffer():
    env = SafetyVelocityEnv("HalfCheetah", None, "rgb_array", width=800, height=500)
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (500, 800, 3)
    assert all(frame[:, part].std() > 10 for part in (slice(0, 200), slice(600, 800)))
    env.close()


@pytest.mark.usefixtures("opengl")
def test_visual_options_show_contacts():
    frames = []
    for options in (None, {int(load_mujoco().mjtVisFlag.mjVIS_CONTACTPOINT): True}):
        env = SafetyVelocityEnv(
            "HalfCheetah", None, "rgb_array", width=64, height=64, visual_options=options
        )
        env.reset(seed=0)
        for _ in range(10):  # until it lies on the ground
            env.step(np.zeros(6))
        frames.append(env.render())
        env.close()
    assert not np.array_equal(*frames)
