"""Windows and frames of whole environments, in processes with and without a screen."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from safe_envs.contract.vector_env import AutoresetMode

linux = pytest.mark.skipif(sys.platform != "linux", reason="takes a screen away by its variables")
draws = pytest.mark.usefixtures("opengl")
xvfb = pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb, a screen in memory")
HAS_MUJOCO = importlib.util.find_spec("mujoco") is not None

ROBOT = "SafetyHopperVelocity-v1"
START = """
import sys, warnings
import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
import safe_envs
warnings.simplefilter("ignore")  # Gymnasium's advice on unbounded boxes

def make(env_id, mode, **kwargs):
    return gym.make(env_id, render_mode=mode, disable_env_checker=True, **kwargs)

def frame(env):
    env.reset(seed=0)
    return env.render()

first_id, cases, checked = SETTING
beside = make(first_id, "rgb_array")
before = frame(beside)
"""
REFUSED = """
for env_id, kwargs in cases:
    drawn = make(env_id, "rgb_array", **kwargs)
    assert drawn.unwrapped.metadata["render_modes"] == ["rgb_array"], env_id
    assert type(drawn.unwrapped).metadata["render_modes"] == ["rgb_array", "human"], env_id
    first = frame(drawn)
    try:
        make(env_id, "human", **kwargs)
        raise SystemExit(f"{env_id} opened a window")
    except RuntimeError as error:
        assert "render_mode='human' needs a screen" in str(error), error
        assert "set DISPLAY" in str(error) and "xvfb-run" in str(error), error
    check_env(drawn.unwrapped)
    check_env(drawn, skip_render_check=True)  # with its wrappers
    assert np.array_equal(frame(drawn), first), env_id
    drawn.close()
assert np.array_equal(frame(beside), before)
print("whole")
"""
SHOWN = """
for env_id, kwargs in cases:
    drawn, shown = make(env_id, "rgb_array", **kwargs), make(env_id, "human", **kwargs)
    first = frame(drawn)
    shown.reset(seed=0)
    shown.step(shown.action_space.sample())
    assert np.array_equal(frame(drawn), first), env_id
    assert shown.render() is None
    shown.close()
    assert np.array_equal(frame(drawn), first), env_id
    assert drawn.unwrapped.metadata["render_modes"] == ["rgb_array", "human"], env_id
    if env_id in checked:
        check_env(drawn.unwrapped)
    drawn.close()
assert np.array_equal(frame(beside), before)
print("whole")
"""


def run(code, cases, *launcher, checked=(), **variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    setting = (ROBOT if HAS_MUJOCO else "Safe/CliffWorld-v0", cases, checked)
    result = subprocess.run(
        [*launcher, sys.executable, "-c", f"SETTING = {setting!r}" + START + code],
        capture_output=True,
        text=True,
        env=environment | variables,
        timeout=300,
    )
    assert (result.returncode, result.stdout.splitlines()[-1:]) == (0, ["whole"]), result.stderr


def kinds():
    """One case of each kind of drawing."""
    small = [("Safe/CliffWorld-v0", {}), ("Safe/DoubleIntegrator-v0", {})]
    robots = [("Safe/Quadrotor-v0", {"render_backend": "mujoco"}), (ROBOT, {})]
    return small + (robots if HAS_MUJOCO else [])


@linux
@draws
def test_without_a_screen_every_id_refuses_a_window_and_draws_on(registered):
    """Gymnasium's check_env with its default arguments opens a window for each listed mode."""
    cases = [(env_id, {}) for env_id in registered]
    run(REFUSED, cases + (kinds()[2:3] if HAS_MUJOCO else []))


@linux
@draws
def test_sdl_without_a_screen_leaves_frames_whole():
    """SDL's offscreen driver would terminate the EGL display that it shares with MuJoCo."""
    run(SHOWN, [kinds()[0], kinds()[-1]], SDL_VIDEODRIVER="offscreen")


@xvfb
@draws
def test_windows_and_frames_beside_one_another_on_a_screen():
    """SDL's GLX context would end the process, because MuJoCo has an EGL context there."""
    run(SHOWN, kinds(), "xvfb-run", "-a", checked=("Safe/CliffWorld-v0",))


@pytest.fixture
def registered():
    import gymnasium as gym

    import safe_envs  # noqa: F401

    ids = [i for i, s in gym.registry.items() if i.startswith("Safe/")]
    if HAS_MUJOCO:
        module = "safe_envs.velocity.env:"
        ids += [i for i, s in gym.registry.items() if str(s.entry_point).startswith(module)]
        if AutoresetMode is None:  # Gymnasium's old model of Swimmer does not load
            ids.remove("SafetySwimmerVelocity-v1")
    return ids


OFFSCREEN = pytest.mark.skipif(not HAS_MUJOCO, reason="needs mujoco")


@OFFSCREEN
@draws
def test_closing_one_scene_leaves_the_frames_of_another():
    """Freed in the context of the other, the first scene's buffers would be the other's."""
    from threading import Thread

    import gymnasium as gym
    import numpy as np

    one, other = (gym.make(ROBOT, render_mode="rgb_array") for _ in range(2))
    one.reset(seed=0)
    other.reset(seed=1)
    one.render()
    frame = other.render()
    one.close()
    assert np.array_equal(other.render(), frame)
    drawn = []
    thread = Thread(target=lambda: drawn.append(other.render()))
    thread.start()
    thread.join()
    assert np.array_equal(drawn[0], frame)
    assert np.array_equal(other.render(), frame)
    other.close()


FORKED = """
import os
from safe_envs.rendering.offscreen_scene import open_context
open_context(8, 8).free()
child = os.fork()
if child == 0:
    try:
        open_context(8, 8)
    except RuntimeError as error:
        os._exit(0 if "forked from one that had drawn with OpenGL" in str(error) else 1)
    os._exit(2)
assert os.waitpid(child, 0)[1] == 0
print("whole")
"""


@linux
@draws
def test_a_forked_process_says_why_it_cannot_draw():
    """OpenGL would wait there forever for threads of the parent."""
    command = [sys.executable, "-c", FORKED]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "whole\n"), result.stderr
