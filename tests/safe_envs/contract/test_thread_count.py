"""The number of threads where nobody says."""

import os

import gymnasium as gym
import pytest

import safe_envs
from safe_envs.contract.thread_count import usual_num_threads


@pytest.fixture(autouse=True)
def one_per_processor():
    safe_envs.set_num_threads(None)
    yield
    safe_envs.set_num_threads(None)


def threads_of(**settings):
    venv = gym.make_vec("SafetyHopperVelocity-v1", num_envs=4, **settings)
    try:
        return venv.unwrapped.dynamics.num_threads
    finally:
        venv.close()


def test_the_setting_holds_where_nothing_is_said():
    assert usual_num_threads() == os.cpu_count()
    assert threads_of() == min(os.cpu_count(), 4)
    safe_envs.set_num_threads(3)
    assert usual_num_threads() == threads_of() == 3
    assert threads_of(num_threads=2) == 2
    safe_envs.set_num_threads(None)
    assert usual_num_threads() == os.cpu_count()


@pytest.mark.parametrize("count", [0, -1, 1.5, "2"])
def test_other_numbers_are_refused(count):
    with pytest.raises(ValueError, match="count is"):
        safe_envs.set_num_threads(count)
