"""The report calls every kind of agent what it is."""

import pytest

from baselines.jobs.agent_job import AgentJob
from baselines.jobs.controller_job import ControllerJob
from baselines.jobs.job import Outcome
from baselines.jobs.policy_file_job import PolicyFileJob
from baselines.names.environments import parse_environment_name
from baselines.report.episodes_section import episodes_section
from baselines.report.html import EnvironmentPart, report_html

ENV = parse_environment_name("Safe/DoubleIntegrator-v0")
JOBS = {
    "deep agent": AgentJob(ENV, "CPO", 0, 64, {}),
    "controller": ControllerJob(ENV, "MPCController", 0, {}),
    "finished policy": PolicyFileJob(ENV, "pol", "0" * 64, 0, {}),
}
TOLD = {
    "deep agent": ("1 deep agent, trained for 64 steps", "Deep agents: the <strong>"),
    "controller": ("1 controller from the environment's model", "Controllers: <strong>"),
    "finished policy": (
        "1 finished policy (ONNX), not trained here",
        "Finished policies: <strong>",
    ),
}


@pytest.mark.parametrize(
    ("shown", "heading"),
    [
        (["finished policy"], "Finished policies"),
        (["controller", "deep agent"], "Deep agents and controllers"),
        ([*JOBS], "Deep agents, controllers and finished policies"),
    ],
)
def test_agents_are_named_and_explained_by_their_category(tmp_path, shown, heading):
    outcomes = [Outcome(JOBS[category], None, "ValueError: no") for category in shown]
    section = episodes_section(tmp_path, ENV, None, outcomes, outcomes)
    html = report_html("title", "command", [EnvironmentPart(str(ENV), [section])])
    assert f"<h3>{heading}</h3>" in html
    for category, sentences in TOLD.items():
        assert [sentence in html for sentence in sentences] == [category in shown] * 2
    assert html.count("Seeds: 0.") == 1
