"""Gymnasium's own version 4 classes, with which the velocity tasks are compared."""

import importlib
import importlib.util
import sys
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest

V4_MODULES = {
    "Ant": "ant_v4",
    "HalfCheetah": "half_cheetah_v4",
    "Hopper": "hopper_v4",
    "Humanoid": "humanoid_v4",
    "Swimmer": "swimmer_v4",
    "Walker2d": "walker2d_v4",
}


@pytest.fixture
def make_v4(monkeypatch, tmp_path):
    """Make Gymnasium's own environment; MuJoCo's log goes to a folder of the test."""
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("imageio") is None:  # Gymnasium saves screenshots with it
        monkeypatch.setitem(sys.modules, "imageio", ModuleType("imageio"))

    def make(robot, frame_skip=None, **arguments):
        try:
            module = importlib.import_module(f"gymnasium.envs.mujoco.{V4_MODULES[robot]}")
            v4 = vars(module)[f"{robot}Env"](**arguments)
        except (AttributeError, ImportError) as error:
            pytest.skip(f"gymnasium {gym.__version__} cannot make its own {robot}: {error}")
        v4.frame_skip = frame_skip or v4.frame_skip  # not an argument of version 4
        return v4

    return make


@pytest.fixture
def start_v4():
    """Start Gymnasium's environment in a state (qpos, qvel)."""
    mujoco = pytest.importorskip("mujoco")

    def start(v4, state):
        nq = v4.model.nq
        v4.reset(seed=0)
        mujoco.mj_resetData(v4.model, v4.data)
        v4.set_state(state[:nq], state[nq:])

    return start


@pytest.fixture
def step_v4():
    """Step Gymnasium's environment; return also the limited velocity, by its documented formula."""

    def step(robot, v4, action):
        before = _position(robot, v4)
        result = v4.step(action)
        velocity = (_position(robot, v4) - before) / (v4.model.opt.timestep * v4.frame_skip)
        return result, velocity[0] if len(velocity) == 1 else np.linalg.norm(velocity)

    return step


def _position(robot, v4):
    if robot == "Ant":
        return v4.data.body("torso").xpos[:2].copy()
    if robot == "Humanoid":
        mass = v4.model.body_mass
        return (mass[:, None] * v4.data.xipos).sum(axis=0)[:2] / mass.sum()
    return v4.data.qpos[:1].copy()
