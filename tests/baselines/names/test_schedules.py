"""Schedules as text, against their values by hand."""

import numpy as np
import pytest

import agents
from agents.schedules import LinearDecay
from baselines.jobs.settings import constructor_arguments
from baselines.names.agents import default_hyperparameters
from baselines.names.schedules import linear_schedule, schedule_text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lin_3e-4", [3e-4, 2.25e-4, 1.5e-4, 7.5e-5, 0.0]),
        ("lin_0.4_0.2", [0.4, 0.35, 0.3, 0.25, 0.2]),
        ("lin_0.2_0.0_0.5", [0.2, 0.2, 0.2, 0.1, 0.0]),
        ("lin_0_2", [0.0, 0.5, 1.0, 1.5, 2.0]),
        ("lin_0.1_0.3_0.25", [0.1, 0.1, 0.1, 0.1, 0.3]),
    ],
)
def test_a_text_stands_for_a_line(text, values):
    schedule = linear_schedule("max_kl", text)
    assert [schedule(left) for left in np.linspace(1, 0, 5)] == pytest.approx(values)
    assert linear_schedule("max_kl", schedule_text(schedule)) == schedule


REFUSED = ["fast", "lin_", "lin_x", "lin_0", "lin_0_0", "lin_-1", "lin_inf", "lin_nan", "0.1"]
REFUSED += ["lin_1_-1", "lin_1_0_0", "lin_1_0_2", "lin_1_0_1_1"]


@pytest.mark.parametrize("text", REFUSED)
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match=f"^max_kl is '{text}'; pass a number, or 'lin_X' for"):
        linear_schedule("max_kl", text)


@pytest.mark.parametrize("agent", ["PPO", "PPOLag", "SPMAALM", "TRPOLag", "CPO"])
def test_defaults_as_text_are_the_classes_own(agent):
    """What a run writes down and reads again is the schedule that Python uses."""
    given = constructor_arguments(default_hyperparameters(agent))
    own = getattr(agents, agent).arguments()
    assert {name: given[name] for name in own if name in given} == {
        name: value for name, value in own.items() if name in given
    }
    assert isinstance(given["learning_rate"], LinearDecay | float)
