"""Frames, camera observations, and scenes whose textures are missing or replaced."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from safe_envs.safety_gymnasium_bridge import make
from safe_envs.safety_gymnasium_bridge.fast_paths import fast_paths
from safe_envs.safety_gymnasium_bridge.scene_files import SKY, SceneFiles, sky


def test_frames_show_the_robot_moving(make_env, opengl, straight_on):
    env = make_env("SafetyPointGoal1-v0", render_mode="rgb_array", width=96, height=64)
    env.reset(seed=0)
    first = env.render()
    for _ in range(20):
        env.step(straight_on)
    assert first.shape == (64, 96, 3)
    assert first.dtype == np.uint8
    assert (first != env.render()).any()
    copy = env.render().copy()
    other = make_env("SafetyCarGoal1-v0", render_mode="rgb_array", width=96, height=64)
    other.reset(seed=1)
    assert (other.render() != copy).any()
    assert (env.render() == copy).all()  # each draws in its own context


def test_depth_is_a_picture_of_distances(make_env, opengl):
    env = make_env("SafetyPointGoal1-v0", render_mode="depth_array", camera_name="fixedfar")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (256, 256)
    assert frame.dtype == np.float32
    assert 0.0 < frame.min() < frame.max() <= 1.0


def test_velocity_tasks_draw_without_a_screen(opengl):
    env = make("SafetyHopperVelocity-v1", render_mode="rgb_array", disable_env_checker=True)
    env.reset(seed=0)
    first = env.render()
    for _ in range(8):
        env.step(np.ones(3))
    assert first.shape == (480, 480, 3)
    assert (first != env.render()).any()
    env.close()


def test_race_with_flat_textures_and_a_camera(make_env, opengl):
    env = make_env("SafetyPointRace1Vision-v0", plain_sky=True, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["vision"].shape == (256, 256, 3)
    assert observation["vision"].std() > 5.0
    assert (env.render() == observation["vision"]).all()
    assert env.step(np.zeros(2))[4]["cost"] == 0.0


@pytest.mark.parametrize(
    ("task_id", "mode", "allowed"),
    [
        ("SafetyPointGoal1-v0", "ascii", "'human', 'rgb_array', 'depth_array'"),
        ("SafetyPointGoal1Vision-v0", "depth_array", "\\['rgb_array'\\]"),
    ],
)
def test_unknown_render_modes_are_refused(task_id, mode, allowed):
    from safe_envs.safety_gymnasium_bridge.env import SafetyGymnasiumEnv

    with pytest.raises(ValueError, match=f"render_mode is '{mode}'; .*{allowed}"):
        SafetyGymnasiumEnv(task_id, render_mode=mode)


WINDOW = """
import warnings
from safe_envs.safety_gymnasium_bridge import make
warnings.simplefilter("ignore")  # Gymnasium's advice on old versions and unbounded boxes
env = make("{}", render_mode="human")
env.reset(seed=0)
for _ in range(3):
    env.step(env.action_space.sample())
print("shown", env.render() is None)
env.close()
"""


def run_without_screen(code, *launcher):
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [*launcher, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="takes a screen away by its variables")
@pytest.mark.parametrize("task_id", ["SafetyPointGoal1-v0", "SafetyHopperVelocity-v1"])
def test_a_window_without_a_screen_is_refused_in_words(task_id):
    run = run_without_screen(WINDOW.format(task_id))
    assert run.returncode == 1
    assert "RuntimeError: render_mode='human' needs a screen" in run.stderr


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb, a screen in memory")
@pytest.mark.parametrize("task_id", ["SafetyPointGoal1Debug-v0", "SafetyHopperVelocity-v1"])
def test_a_window_is_shown(task_id):
    run = run_without_screen(WINDOW.format(task_id), "xvfb-run", "-a")
    assert (run.returncode, run.stdout) == (0, "shown True\n"), run.stderr


REFUSED = """
import warnings
import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
import safe_envs
from safe_envs.safety_gymnasium_bridge import make
warnings.simplefilter("ignore")
drawn = make("SafetyPointGoal1-v0", render_mode="rgb_array")
drawn.reset(seed=0)
frame = drawn.render()
for name in ("PointGoal1", "CarGoal1Debug", "PointRace1", "HopperVelocity"):
    env_id = f"Safety{name}-v0"
    for form in (make, gym.make, gym.make_vec):
        try:
            form(env_id, render_mode="human")
            raise SystemExit(f"{env_id} opened a window")
        except RuntimeError as error:
            assert "render_mode='human' needs a screen" in str(error), error
check_env(drawn.unwrapped)
assert drawn.unwrapped.metadata["render_modes"] == ["rgb_array", "depth_array"]
drawn.reset(seed=0)
print("whole", np.array_equal(drawn.render(), frame))
"""
BESIDE = """
import subprocess, warnings
import gymnasium as gym
import numpy as np
import safe_envs
from safe_envs.safety_gymnasium_bridge import make
warnings.simplefilter("ignore")

def frame(env):
    env.reset(seed=0)
    return env.render()

drawn = [
    gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
    for env_id in ("SafetyPointGoal1-v0", "SafetyHopperVelocity-v1")
]
first = [frame(env) for env in drawn]
windows = [make(i, render_mode="human") for i in ("SafetyPointGoal1-v0", "SafetyHopperVelocity-v0")]
windows.append(gym.make("Safe/CliffWorld-v0", render_mode="human"))
while windows:
    for window in windows:
        window.reset(seed=0)
        window.step(window.action_space.sample())
    assert all(np.array_equal(frame(env), f) for env, f in zip(drawn, first))
    windows.pop(0).close()
print("whole", all(np.array_equal(frame(env), f) for env, f in zip(drawn, first)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="takes a screen away by its variables")
def test_every_kind_of_window_is_refused_and_frames_stay(opengl):
    """Gymnasium's check_env with its default arguments opens a window for each listed mode."""
    run = run_without_screen(REFUSED)
    assert (run.returncode, run.stdout) == (0, "whole True\n"), run.stderr


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb, a screen in memory")
def test_windows_and_frames_beside_one_another(opengl):
    """GLFW's GLX context and MuJoCo's EGL context cannot be current in one thread."""
    run = run_without_screen(BESIDE, "xvfb-run", "-a")
    assert (run.returncode, run.stdout.splitlines()[-1:]) == (0, ["whole True"]), run.stderr


SCENE = """
textures:
  skybox: {'@type': skybox, '@fileup': star.png}
  there: {'@name': there, '@file': there.png, '@type': 2d}
  lost: {'@name': lost, '@file': lost.png, '@type': 2d}
"""


class NamedText(io.StringIO):
    name = ""


def load(files, path):
    text = NamedText(SCENE)
    text.name = str(path)
    return files.load(text, Loader=files.FullLoader)["textures"]


@pytest.fixture
def scene(tmp_path) -> Path:
    folder = tmp_path / "assets" / "textures"
    folder.mkdir(parents=True)
    (folder / "there.png").touch()
    return tmp_path / "configs" / "assets.yaml"


def test_only_missing_textures_are_replaced(scene):
    textures = load(SceneFiles(yaml), scene)
    assert textures["there"]["@file"] == "there.png"
    assert textures["skybox"]["@fileup"] == "star.png"
    assert textures["lost"]["@builtin"] == "flat"
    assert "@file" not in textures["lost"]


def test_cached_content_may_be_changed_by_its_reader(scene):
    files = SceneFiles(yaml)
    with fast_paths(True), sky(plain=True):
        first = load(files, scene)
        assert first["skybox"] == SKY
        first["there"]["@file"] = "changed"
        assert load(files, scene)["there"]["@file"] == "there.png"
    assert load(files, scene)["skybox"]["@fileup"] == "star.png"
