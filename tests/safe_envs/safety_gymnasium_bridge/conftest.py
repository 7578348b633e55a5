"""Tests of the genuine package, which are not collected where it is not installed."""

import importlib.util

import numpy as np
import pytest

collect_ignore_glob = []
if importlib.util.find_spec("safety_gymnasium") is None:
    collect_ignore_glob = ["test_*.py", "parity/test_*.py"]

STRAIGHT_ON = np.array([1.0, 0.2])  # of Point and Car: soon among the hazards


@pytest.fixture(scope="session")
def genuine_env():
    """Make the package's own six-tuple environment, the truth that the bridge is compared with."""
    from safe_envs.safety_gymnasium_bridge.genuine_package import load_genuine_package
    from safe_envs.safety_gymnasium_bridge.task_ids import find_task

    def make(task_id):
        task = find_task(task_id)
        return load_genuine_package().class_at(task.entry_point)(**task.arguments)

    return make


@pytest.fixture
def straight_on():
    return STRAIGHT_ON
