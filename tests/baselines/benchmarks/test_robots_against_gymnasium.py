"""The benchmark of single robots runs the same steps here and in Gymnasium's environments."""

import io

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("mujoco")

from baselines.benchmarks import robots_against_gymnasium
from baselines.benchmarks.robots_against_gymnasium import RobotComparisonArguments, step_times


def test_ratios_are_those_of_the_times(monkeypatch):
    made_up = [2.0, 3.0, 4.0, 1.0, 1.1, 1.2]
    monkeypatch.setattr(robots_against_gymnasium, "step_times", lambda *arguments: made_up)
    console = Console(width=110, file=io.StringIO())
    monkeypatch.setattr(robots_against_gymnasium, "Console", lambda **options: console)
    robots_against_gymnasium.main(RobotComparisonArguments(("Hopper",)))
    row = next(line for line in console.file.getvalue().splitlines() if "Hopper" in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells == ["Hopper", "2.0", "3.0", "1.50x", "1.10x", "2.00x", "1.20x"]


def test_a_turn_steps_every_environment():
    times = step_times("HalfCheetah", 1)
    assert len(times) == 6
    assert np.all(np.isfinite(times))
    assert min(times) > 0
