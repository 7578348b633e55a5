"""The package is imported late, once, and leaves nothing behind."""

import subprocess
import sys
import threading

import gymnasium as gym
import pytest

from safe_envs.safety_gymnasium_bridge import make
from safe_envs.safety_gymnasium_bridge.genuine_package import load_genuine_package
from safe_envs.safety_gymnasium_bridge.making import ENTRY_POINT
from safe_envs.safety_gymnasium_bridge.task_ids import GROUPS, TASKS

TRACES = """
import dataclasses, sys
import gymnasium, mujoco
import gymnasium.envs.mujoco.mujoco_rendering
import safe_envs

assert "safety_gymnasium" not in sys.modules, "not imported before a task is made"
modules, registry = set(sys.modules), dict(gymnasium.registry)
dataclass, register = dataclasses.dataclass, gymnasium.register
gymnasium.make("SafetyPointGoal1-v0").close()
assert dataclasses.dataclass is dataclass
assert gymnasium.register is gymnasium.envs.registration.register is register
assert gymnasium.registry == registry and list(gymnasium.registry) == list(registry)
new = set(sys.modules) - modules
assert not [n for n in new if n.startswith(("gymnasium_robotics", "gymnasium.wrappers"))], new
print(*sorted({n.partition(".")[0] for n in new}))
"""
BLOCKED = """
import sys
import importlib.metadata as metadata
import gymnasium, safe_envs

{block}
try:
    gymnasium.make("SafetyPointGoal1-v0")
except gymnasium.error.DependencyNotInstalled as error:
    print(error)
assert not [n for n in sys.modules if n.startswith("safety_gymnasium")]
"""
MISSING = """
real = metadata.version
def version(name):
    if name == "safety-gymnasium":
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
"""
OTHER = MISSING.replace("raise metadata.PackageNotFoundError(name)", "return '1.2.0'")


def run(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_leaves_no_trace_but_the_packages_it_uses():
    libraries = {"safe_envs", "safety_gymnasium", "xmltodict", "yaml", "gymnasium"}
    found = set(run(TRACES).split())
    assert libraries <= found
    assert not found & {"gymnasium_robotics", "torch", "stable_baselines3", "jax"}


@pytest.mark.parametrize(
    ("block", "command"),
    [
        (MISSING, "not installed; run: pip install --no-deps safety-gymnasium==1.0.0"),
        (OTHER, "1.2.0 is installed, but the bridge is made for 1.0.0; run: pip install --no-deps"),
        ("sys.modules['xmltodict'] = None", 'run: pip install "safe-envs[mujoco,bridge]"'),
    ],
    ids=["package", "release", "library"],
)
def test_what_is_missing_is_named_with_the_pip_line(block, command):
    assert command in run(BLOCKED.format(block=block))


def test_ids_are_those_the_package_registers():
    registered = {
        r["id"]: r for r in load_genuine_package().registrations if "Gymnasium-v" not in r["id"]
    }
    assert set(TASKS) == set(registered)
    for task_id, task in TASKS.items():
        genuine = registered[task_id]
        assert task.entry_point == genuine["entry_point"]
        assert task.max_episode_steps == genuine["max_episode_steps"]
        assert task.arguments == genuine["kwargs"]


def test_counts_of_the_groups():
    counts = {group: sum(t.group == group for t in TASKS.values()) for group in GROUPS}
    expected = {"navigation": 95, "velocity": 12, "debug": 66, "race": 15, "vision": 110}
    assert counts == expected


def test_every_id_is_registered_and_the_native_ones_are_kept():
    for task in TASKS.values():
        spec = gym.spec(task.id)
        assert spec.max_episode_steps == task.max_episode_steps
        assert (spec.entry_point == ENTRY_POINT) is not task.native
    native = sorted(task.id for task in TASKS.values() if task.native)
    assert len(native) == 6
    assert all(task_id.endswith("Velocity-v1") for task_id in native)


def test_threads_share_one_import():
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_genuine_package())) for _ in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(package) for package in found}) == 1


@pytest.mark.parametrize(
    ("task_id", "message"),
    [
        ("SafetyPointGaol1-v0", "no task 'SafetyPointGaol1-v0'; .* 'SafetyPointGoal1-v0'"),
        ("SafetyPointGoal1Gymnasium-v0", "'SafetyPointGoal1-v0' is a five-tuple environment"),
        ("ShadowHandOver_Safe_finger", "needs the proprietary package isaacgym"),
    ],
)
def test_unknown_ids_are_refused(task_id, message):
    with pytest.raises(ValueError, match=message):
        make(task_id)
