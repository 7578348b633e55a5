"""The benchmark of a learner's step runs and prints its ratios."""

import numpy as np
import pytest
from rich.console import Console

from baselines.benchmarks import learner_step


def test_ratios_are_those_of_the_times():
    times = learner_step.measure("Safe/DoubleIntegrator-v0", 4, 12)
    assert times.bare.shape == times.read.shape == (12,)
    assert min(times.bare.min(), times.read.min()) > 0
    made_up = learner_step.Times(np.array([2e-6, 4e-6, 9e-6]), np.array([3e-6, 5e-6, 9e-6]))
    console = Console(width=110)
    with console.capture() as captured:
        console.print(learner_step.table("X", {4: made_up}))
    rows = [line.strip("│ ").split() for line in captured.get().splitlines() if "│" in line]
    assert [[cell for cell in row if cell != "│"] for row in rows] == [
        ["4", "median", "4.0", "5.0", "1.25"],
        ["4", "minimum", "2.0", "3.0", "1.50"],
    ]


def test_environments_without_a_native_form_are_refused():
    with pytest.raises(ValueError, match="CartPole-v1 has no native vector form"):
        learner_step.measure("CartPole-v1", 2, 1)
