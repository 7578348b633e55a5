"""Frames of the quadrotor: what both backends show, and MuJoCo's camera by the pinhole formula."""

import copy
import pickle
import sys

import gymnasium as gym
import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode
from safe_envs.quadrotor.env import QuadrotorEnv
from safe_envs.quadrotor.mujoco_model import mujoco_text
from safe_envs.quadrotor.rendering import Flown, draw_flight, draw_flights
from safe_envs.quadrotor.task import flight_task
from safe_envs.quadrotor.vector_env import QuadrotorVectorEnv
from safe_envs.quadrotor.vehicle import CRAZYFLIE, HUMMINGBIRD
from safe_envs.rendering.frames import AGENT, HAZARD

LEVEL = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
PURPLE = (120, 0, 120)


def at(place):
    return {"state": [*place, 0.0, 0.0, 0.0, *LEVEL]}


def make(**options):
    return QuadrotorEnv(render_mode="rgb_array", render_backend="mujoco", **options)


def frame_at(env, place):
    env.reset(options=at(place))
    return env.render().astype(int)


def pixel(point):
    """Row and column by the pinhole formula, of a camera as far as the docstrings tell."""
    from safe_envs.quadrotor.mujoco_rendering import AZIMUTH, DISTANCE, ELEVATION

    azimuth, elevation = np.radians(AZIMUTH), np.radians(ELEVATION)
    ahead = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    away = np.array(point) - ([0.0, 0.0, 0.7] - DISTANCE * ahead)
    focus = 240.0 / np.tan(np.radians(45.0) / 2)  # MuJoCo's vertical field of view is 45 degrees
    depth = away @ ahead
    up = away @ np.cross(right, ahead)
    return round(240.0 - focus * up / depth), round(320.0 + focus * (away @ right) / depth)


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("place", [(0.5, 0.0, 1.3), (-0.6, -0.4, 0.9), (0.0, 0.0, 1.0)])
def test_the_vehicle_is_drawn_where_it_is(place):
    env = make()
    changed = np.abs(frame_at(env, place) - frame_at(env, (0.0, 0.9, 2.0))).max(axis=2) > 40
    row, column = pixel(place)
    assert changed[row - 3 : row + 4, column - 3 : column + 4].any()
    rows, columns = np.nonzero(changed)
    near = (np.abs(rows - row) < 40) & (np.abs(columns - column) < 40)
    assert near.sum() > 150
    env.close()


@pytest.mark.usefixtures("opengl")
@pytest.mark.parametrize("scene", ["spheres", "column"])
def test_contact_turns_spheres_red_in_space(scene):
    env = make(scene=scene)
    env.reset(seed=0)
    center = min(env.centers, key=lambda c: abs(c[2] - 1.0))
    red = []
    for place in ((1.2, 1.2, 2.0), center):
        frame = frame_at(env, place)
        red.append(((frame[..., 0] > 120) & (frame[..., 1:].max(axis=2) < 90)).sum())
    assert red[0] < 50
    assert red[1] > 1000
    env.close()


@pytest.mark.usefixtures("opengl")
def test_the_flight_so_far_is_drawn():
    env = make()
    env.reset(options=at((0.0, 0.0, 1.5)))
    for _ in range(25):
        env.step(np.full(4, -1.0))  # falls
    fallen = env.state[:3]
    after = env.render().astype(int)
    row, column = pixel([*fallen[:2], 0.5 * (1.5 + fallen[2])])  # midway
    around = after[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3)
    assert (around[:, 2] - around[:, 0]).max() > 60  # blue on a light ground
    env.close()


@pytest.mark.usefixtures("opengl")
def test_copies_draw_alike_and_a_closed_one_again():
    env = make()
    env.reset(seed=4)
    before = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    frame = env.render()
    after = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    env.close()
    for each in (*before, *after, env):
        np.testing.assert_array_equal(each.render(), frame)
        each.close()


@pytest.mark.usefixtures("opengl")
@pytest.mark.skipif(AutoresetMode is None, reason="native vector environments need Gymnasium 1.1")
def test_the_native_form_draws_as_a_single_environment_does():
    places = [(0.1, 0.2, 1.0), (-0.5, 0.0, 1.4)]
    vector = QuadrotorVectorEnv(2, render_mode="rgb_array", render_backend="mujoco")
    vector.reset(options={"state": np.array([at(place)["state"] for place in places])})
    env = make()
    for frame, place in zip(vector.render(), places, strict=True):
        np.testing.assert_array_equal(frame, frame_at(env, place))
    vector.close()
    env.close()


@pytest.mark.usefixtures("opengl")
def test_a_window_shows_the_flight_in_space(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make("Safe/QuadrotorZCBF-v0", render_mode="human", render_backend="mujoco")
    env.reset(seed=0)
    assert pygame.display.get_surface().get_size() == (640, 480)
    env.close()
    assert not pygame.display.get_init()


def test_refuses_an_unknown_backend():
    forms = [QuadrotorEnv] if AutoresetMode is None else [QuadrotorEnv, QuadrotorVectorEnv]
    for form in forms:
        with pytest.raises(ValueError, match="backend is 'opengl'; pass 'drawing', .* or 'mujoco'"):
            form(render_backend="opengl")


def test_tells_what_to_install_for_the_flight_in_space(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(
        gym.error.DependencyNotInstalled, match=r'pip install "safe-envs\[mujoco\]"'
    ):
        make()


@pytest.mark.parametrize("vehicle", [CRAZYFLIE, HUMMINGBIRD])
def test_the_shape_adds_no_mass(vehicle):
    mujoco = pytest.importorskip("mujoco")
    text = mujoco_text(vehicle, 0.01, '<geom type="sphere" size="0.1" density="5000"/>')
    model = mujoco.MjModel.from_xml_string(text)
    assert model.body_mass[1] == pytest.approx(vehicle.mass)
    np.testing.assert_allclose(np.sort(model.body_inertia[1]), np.sort(vehicle.inertia))


def test_two_flights_in_one_drawing():
    pytest.importorskip("pygame")
    task = flight_task("spheres", "crazyflie", (0.0, 0.0, 0.0), 0.0, 1.0, 0.0, False, None, False)
    centers = np.array([[1.0, 0.0, 1.0]] * 4)
    paths = {
        name: [(x, y, 1.0) for x in np.linspace(-1.0, end, 20)]
        for name, y, end in (("clear", 0.8, 0.0), ("touching", -0.8, 0.0))
    }
    paths["touching"] += [(1.0, 0.0, 1.0)]
    clear, touching = (
        Flown([*path[-1], 0, 0, 0, *LEVEL], path, color)
        for path, color in zip(paths.values(), (AGENT, PURPLE), strict=True)
    )
    alone = draw_flights([clear], centers, centers[0], task)
    np.testing.assert_array_equal(
        alone, draw_flight(clear.state, clear.trail, centers, centers[0], task)
    )
    both = draw_flights([clear, touching], centers, centers[0], task)
    counts = [[(f == c).all(axis=2).sum() for c in (AGENT, PURPLE, HAZARD)] for f in (alone, both)]
    assert counts[0][0] > 200
    assert counts[0][1:] == [0, 0]
    assert counts[1][0] > 200
    assert counts[1][1] > 200
    assert counts[1][2] > 1000
