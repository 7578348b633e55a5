"""The guide docs/add_your_experiment.md, followed to the letter in a copy of the checkout."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from agents.tabular import linear_program

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "add_your_experiment.md"
PACKAGES = ("safe_envs", "agents", "baselines")


def code_of_the_guide():
    """Return name and text of the file that the guide shows."""
    pattern = r"^```python (\S+)\n(.*?)^```"
    ((name, text),) = re.findall(pattern, GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    return name, text


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the packages with the guide's file in its place."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    name, text = code_of_the_guide()
    (folder / "baselines" / "experiments" / name).write_text(text)
    return folder


def run(checkout, *words):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=checkout, capture_output=True, text=True, timeout=120
    )


def test_the_guides_experiment_is_listed_and_finds_the_optimum(checkout):
    listed = run(checkout, "baselines.experiments")
    assert listed.returncode == 0, listed.stderr
    assert "slippery_cliff" in listed.stdout
    assert "What slips cost on the cliff: two solvers against the optimum." in listed.stdout

    command = ("baselines.experiments.slippery_cliff", "--slips", "0.1", "--evaluations", "1000")
    done = run(checkout, *command, "--workers", "1", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "2 jobs: ran 2, kept 0" in done.stdout
    found = json.loads((checkout / "out" / "summary.json").read_text())["rows"]
    model = gym.make("Safe/CliffWorld-v0", slip=0.1).unwrapped.tabular_model()
    optimum = linear_program(model).value
    assert [row["solver"] for row in found] == ["pqa_alm", "npg_pd"]
    for row in found:
        assert row["slip"] == 0.1
        assert row["value"] + row["gap"] == pytest.approx(optimum, abs=1e-9)
        assert f"{row['value']:.6f}" in done.stdout
    assert found[0]["value"] == pytest.approx(optimum, abs=1e-6)
    assert found[0]["violation"] < 1e-6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def main():\n    pass\n", "unfinished.py has no docstring"),
        ('"""A question."""\n', "unfinished.py has no function main"),
        ('"""A question."""\n\n\ndef main():\n    pass\n', "unfinished.py does not call its main"),
    ],
)
def test_a_file_that_is_not_finished_is_named(checkout, text, message):
    file = checkout / "baselines" / "experiments" / "unfinished.py"
    file.write_text(text)
    try:
        listed = run(checkout, "baselines.experiments")
    finally:
        file.unlink()
    assert listed.returncode == 2
    assert message in listed.stdout
