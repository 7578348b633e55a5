"""The parity command, beside an interpreter that stands for that of the genuine packages.

What it runs as genuine are the project's own native velocity tasks, so that there is no difference
to be found. Where `SAFE_ENVS_TEST_LEGACY_PYTHON` names the real one, that is compared with too.
"""

import json
import os
import sys

import pytest

from safe_envs.safety_gymnasium_bridge.parity import report
from safe_envs.safety_gymnasium_bridge.parity.report import main
from safe_envs.safety_gymnasium_bridge.parity.sides import (
    GENUINE_VERSIONS,
    LegacySide,
    LegacySideError,
)

LEGACY_PYTHON = os.environ.get("SAFE_ENVS_TEST_LEGACY_PYTHON")
TASK = "SafetyHopperVelocity-v1"
PACKAGE = """
import gymnasium, safe_envs
class SixTuple:
    def __init__(self, env):
        self.reset, self._env = env.reset, env
    def step(self, action):
        *outcome, terminated, truncated, info = self._env.step(action)
        return *outcome, info["cost"], terminated, truncated, info
def make(task_id):
    return SixTuple(gymnasium.make(task_id, disable_env_checker=True))
"""
OTHER_PACKAGE = """
import numpy
class SixTuple:
    def reset(self, seed):
        return numpy.zeros(11), {}
    def step(self, action):
        return numpy.zeros(11), 500.0, 1.0, False, False, {}
def make(task_id):
    return SixTuple()
"""
SCRIPT = """#!/bin/sh
echo run >> {folder}/calls
if [ "$3" = --versions ]; then echo '{versions}'; exit; fi
{fail}
PYTHONPATH={folder} exec {python} "$2" "$3"
"""


@pytest.fixture
def stand_in(tmp_path):
    """Write an interpreter that says it is the genuine one; count its calls."""

    def write(fail="", **versions):
        found = {"python": "3.10.13", **GENUINE_VERSIONS, "numpy": "1.23.5", **versions}
        (tmp_path / "safety_gymnasium.py").write_text(PACKAGE)
        python = tmp_path / "python3.10"
        text = SCRIPT.format(
            folder=tmp_path, versions=json.dumps(found), fail=fail, python=sys.executable
        )
        python.write_text(text)
        python.chmod(0o755)
        return str(python)

    return write


def calls(folder):
    return len((folder / "calls").read_text().split())


def test_both_tables_and_resuming(stand_in, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "EPISODES_AT_A_TIME", 2)
    out, rows = tmp_path / "out", tmp_path / "rows.json"
    command = ["--legacy-python", stand_in(), "--tasks", TASK, "--episodes", "2", "--steps", "20"]
    command += ["--out", str(out), "--json", str(rows)]
    assert main([*command, "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "never 0 / 0, of " in printed
    assert printed.splitlines()[-2:] == [
        f"largest |z| of 4: 0.00 ({TASK} random returns)",
        "beyond 3: none",
    ]
    trajectories, random, seeking = json.loads(rows.read_text())
    assert [row["parted"] for row in trajectories["rows"]] == [None, None]
    assert trajectories["rows"][0]["at_reset"] == 0.0
    for part in (random, seeking):
        assert part["bridge"] == part["genuine"]
        assert len(part["bridge"]["returns"]) == 2
        assert max(part["bridge"]["lengths"]) <= 20
        assert set(part["z"].values()) == {0.0}
    assert calls(tmp_path) == 4
    assert main([*command, "--seeds", "2"]) == 0
    assert capsys.readouterr().out == printed
    assert calls(tmp_path) == 5  # it is asked for its versions, and nothing is rolled out
    assert main([*command, "--seeds", "3"]) == 0
    assert calls(tmp_path) == 7  # the third trajectory and nothing else
    assert len(json.loads(rows.read_text())[0]["rows"]) == 3


def test_a_difference_is_found(stand_in, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "EPISODES_AT_A_TIME", 3)
    python = stand_in()
    (tmp_path / "safety_gymnasium.py").write_text(OTHER_PACKAGE)
    command = ["--legacy-python", python, "--tasks", TASK, "--steps", "5", "--episodes", "4"]
    rows = tmp_path / "rows.json"
    assert main([*command, "--seeds", "2", "--json", str(rows)]) == 1
    printed = capsys.readouterr().out
    assert f"{TASK} random costs (-inf)" in printed.splitlines()[-1]
    assert f"{TASK} seeking returns (-" in printed.splitlines()[-1]
    assert " 0 0 / 10, of 10" in printed  # parted at reset, before any step
    random = json.loads(rows.read_text())[1]
    assert random["settings"]["seeds"] == [0, 1, 2, 3]
    assert random["genuine"]["returns"] == [2500.0] * 4
    assert len(random["bridge"]["costs"]) == 4


def test_a_failed_rollout_is_told_and_the_others_go_on(stand_in, tmp_path, capsys):
    python = stand_in(fail="echo 'no such scene' >&2; exit 3")
    command = ["--legacy-python", python, "--tasks", TASK, "--steps", "5", "--episodes", "2"]
    assert main(command) == 1
    told = capsys.readouterr()
    assert told.err.count("failed with exit code 3; try another task with --tasks") == 3
    assert f"{TASK} random: rolling out {TASK} with" in told.err
    assert "no such scene" in told.err
    assert told.out.endswith("no distributions were compared\n")


def test_wrong_versions_are_refused(stand_in):
    wrong = {"python": "3.12.1", "mujoco": "3.2.0", "safety-gymnasium": None}
    with pytest.raises(LegacySideError) as caught:
        LegacySide(stand_in(**wrong))
    message = str(caught.value)
    assert "safety-gymnasium (not installed) instead of 1.0.0" in message
    assert "mujoco 3.2.0 instead of 2.3.3, Python 3.12.1 instead of 3.10.x" in message
    assert "legacy/bin/pip install safety-gymnasium==1.0.0" in message


def test_a_missing_interpreter_and_unknown_tasks_are_refused(tmp_path, capsys):
    assert main(["--legacy-python", str(tmp_path / "nowhere")]) == 2
    told = capsys.readouterr().err
    assert "nowhere' cannot be run" in told
    assert "python3.10 -m venv legacy" in told
    assert main(["--legacy-python", "any", "--tasks", "SafetyPointGaol1-v0"]) == 2
    assert "'SafetyPointGoal1-v0'" in capsys.readouterr().err


def test_too_few_episodes_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--legacy-python", "any", "--episodes", "1"])
    assert "1 is too few; pass a whole number >= 2" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(LEGACY_PYTHON is None, reason="no SAFE_ENVS_TEST_LEGACY_PYTHON")
def test_the_genuine_packages(tmp_path):
    rows = tmp_path / "rows.json"
    command = ["--legacy-python", LEGACY_PYTHON, "--json", str(rows), "--steps", "30"]
    command += ["--tasks", "SafetySwimmerVelocity-v1", "SafetyPointGoal1-v0"]
    assert main([*command, "--seeds", "2", "--episodes", "3"]) == 0
    for part in json.loads(rows.read_text()):
        for row in part.get("rows", []):
            assert row["at_reset"] < 1e-12
            assert row["at_first_step"] < 1e-6
            assert row["mismatches_before"] == 0
