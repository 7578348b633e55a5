"""The command that tries every id."""

import json

import pytest

from safe_envs.safety_gymnasium_bridge.__main__ import main
from safe_envs.safety_gymnasium_bridge.parity import sweep
from safe_envs.safety_gymnasium_bridge.parity.sweep import COLUMNS


def test_prints_a_row_per_id_and_a_summary(capsys, tmp_path, opengl, monkeypatch):
    monkeypatch.setattr(sweep, "STEPS", 20)
    out = tmp_path / "rows.json"
    assert main(["--sweep", "--ids", "SafetyPointRun0-v0", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "SafetyPointRun0-v0" in printed
    assert printed.splitlines()[-1].split() == ["navigation"] + ["1"] * 7
    (row,) = json.loads(out.read_text())
    assert tuple(row["passed"]) == COLUMNS


def test_failures_are_noted_and_the_sweep_goes_on(capsys, monkeypatch):
    def fails(task_id, **options):
        raise RuntimeError(f"{task_id} is broken")

    monkeypatch.setattr(sweep, "make", fails)
    assert main(["--sweep", "--ids", "Safety*Run0-v0"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert (
        sum("constructs: RuntimeError: SafetyAntRun0-v0 is broken" in line for line in lines) == 1
    )
    assert lines[-1].split() == ["navigation", "5"] + ["0"] * 6


def test_lists_ids(capsys):
    assert main(["--list", "--groups", "velocity"]) == 0
    assert len(capsys.readouterr().out.split()) == 12


@pytest.mark.parametrize("what", ["--list", "--sweep"])
def test_a_pattern_without_ids_is_refused(capsys, what):
    assert main([what, "--ids", "Nothing*"]) == 2
    assert "no id of navigation, velocity" in capsys.readouterr().err
