"""The number of threads where nobody says."""

import os

import pytest

import safe_envs
from safe_envs.contract.thread_count import usual_num_threads
from safe_envs.velocity.batch import checked_thread_count


@pytest.fixture(autouse=True)
def one_per_processor():
    safe_envs.set_num_threads(None)
    yield
    safe_envs.set_num_threads(None)


def test_the_setting_holds_where_nothing_is_said():
    assert usual_num_threads() == os.cpu_count()
    assert checked_thread_count(None, 4) == min(os.cpu_count(), 4)
    safe_envs.set_num_threads(3)
    assert usual_num_threads() == checked_thread_count(None, 4) == 3
    assert checked_thread_count(2, 4) == 2
    safe_envs.set_num_threads(None)
    assert usual_num_threads() == os.cpu_count()


@pytest.mark.parametrize("count", [0, -1, 1.5, "2"])
def test_other_numbers_are_refused(count):
    with pytest.raises(ValueError, match="count is"):
        safe_envs.set_num_threads(count)
