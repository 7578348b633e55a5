"""Readings on the short paths equal the genuine package's own methods to the last bit."""

import numpy as np
import pytest

from safe_envs.safety_gymnasium_bridge.fast_paths import fast_paths

SETTINGS = (
    {},
    {"alias": False},
    {"max_dist": None},
    {"max_dist": None, "exp_gain": 0.3, "num_bins": 5},
    {"max_dist": 0.7, "num_bins": 32},
)


@pytest.fixture
def task(make_env):
    env = make_env("SafetyCarGoal1-v0")
    env.reset(seed=1)
    return env.unwrapped._inner.task


def both_ways(method, *arguments):
    readings = []
    for fast in (True, False):
        with fast_paths(fast):
            readings.append(method(*arguments))
    return readings


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_lidars(task, monkeypatch, settings):
    for name, value in settings.items():
        monkeypatch.setattr(task.lidar_conf, name, value)
    generator = np.random.default_rng(0)
    for count in (1, 2, 8, 40):
        for columns in (2, 3):
            positions = generator.normal(scale=2.0, size=(count, columns))
            short, own = both_ways(task._obs_lidar_pseudo, positions)
            assert np.array_equal(short, own)
            assert (short.dtype, short.shape) == (own.dtype, (task.lidar_conf.num_bins,))
    assert own.any()


def test_a_lidar_of_objects_as_the_package_lists_them(task):
    listed = [np.array([1.0, 2.0, 0.1]), np.array([0.0, -1.0, 0.1])]
    for positions in (listed, listed[0], (1.0, 2.0, 0.1), [(1.0, 2.0)]):
        assert np.array_equal(*both_ways(task._obs_lidar_pseudo, positions))


def test_a_lidar_where_the_robot_stands(task):
    assert np.array_equal(*both_ways(task._obs_lidar_pseudo, task.agent.pos))


def test_distances(task):
    generator = np.random.default_rng(0)
    for position in generator.normal(scale=2.0, size=(200, 3)):
        for place in (position, position[:2], position.tolist()):
            short, own = both_ways(task.agent.dist_xy, place)
            assert short == own
