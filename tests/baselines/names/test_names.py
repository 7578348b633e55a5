"""Names and settings are refused early, with what is known and the closest match."""

import gymnasium as gym
import pytest

from baselines.__main__ import main
from baselines.names.agents import SOLVERS, default_hyperparameters
from baselines.names.environments import (
    EnvironmentName,
    parse_environment_name,
    tabular_model_of,
)


def test_query_values_become_numbers_and_truth_values():
    name = parse_environment_name("Safe/RandomCMDP-v0?states=7&slack=0.5&per=true&mode=x&big=1e+3")
    assert dict(name.kwargs) == {"states": 7, "slack": 0.5, "per": True, "mode": "x", "big": 1e3}
    assert [type(value) for _, value in name.kwargs] == [float, str, bool, float, int]


def test_order_of_arguments_does_not_matter_and_the_name_reads_back():
    one = parse_environment_name("Safe/RandomCMDP-v0?states=7&constraints=2")
    other = parse_environment_name("Safe/RandomCMDP-v0?constraints=2&states=7")
    assert one == other
    assert parse_environment_name(str(one)) == one
    assert one.slug == "Safe_RandomCMDP-v0_constraints=2_states=7"


def test_long_names_keep_distinct_folders():
    slugs = {EnvironmentName("a", (("key", "x" * 300 + end),)).slug for end in "12"}
    assert len(slugs) == 2
    assert max(map(len, slugs)) < 120


def test_of_hundreds_of_names_the_closest_are_told():
    with pytest.raises(ValueError, match="did you mean 'SafetyPointGoal1-v0'") as refused:
        parse_environment_name("SafetyPointGol1-v0")
    assert "SafetyPointGoal2-v0" in str(refused.value)
    assert len(str(refused.value)) < 500


def test_arguments_reach_the_environment():
    cmdp = tabular_model_of(
        parse_environment_name("Safe/RandomCMDP-v0?states=7&actions=3&constraints=2")
    )
    assert cmdp.P.shape == (7, 3, 7)
    assert cmdp.num_constraints == 2


def test_unknown_environment():
    message = "unknown environment 'Safe/ClifWorld-v0'; did you mean 'Safe/CliffWorld-v0'\\? Known"
    with pytest.raises(ValueError, match=message) as caught:
        parse_environment_name("Safe/ClifWorld-v0")
    assert "Safe/DeepSeaTreasure-v0" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Safe/CliffWorld-v0?slip", "malformed query string"),
        ("Safe/CliffWorld-v0?a=1&a=2", "repeats an argument"),
    ],
)
def test_malformed_query(text, message):
    with pytest.raises(ValueError, match=message):
        parse_environment_name(text)


def test_argument_the_environment_does_not_take():
    with pytest.raises(ValueError, match="failed: TypeError: .*'sllip'"):
        tabular_model_of(parse_environment_name("Safe/CliffWorld-v0?sllip=0.1"))


def test_environment_without_tabular_model():
    assert "CartPole-v1" in gym.registry
    with pytest.raises(ValueError, match="CartPole-v1 has no tabular_model\\(\\)"):
        tabular_model_of(parse_environment_name("CartPole-v1"))


def test_every_agent_declares_its_hyperparameters():
    for agent in SOLVERS:
        names = default_hyperparameters(agent)
        assert "step_size" in names
        assert not {"cmdp", "evaluations", "initial_policy", "initial_parameters"} & set(names)


CLIFF = ["--envs", "Safe/CliffWorld-v0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [*CLIFF, "--agents", "pqa_alm", "npg_pg"],
            "unknown agent 'npg_pg'; did you mean 'npg_pd'?",
        ),
        (
            ["--envs", "Safe/DeepSea-v0", "--agents", "npg_pd"],
            "did you mean 'Safe/DeepSeaTreasure-v0'?",
        ),
        (
            [*CLIFF, "--agents", "npg_pd", "--set", "npg_pd.stepsize=1"],
            "did you mean 'step_size'?",
        ),
        ([*CLIFF, "--agents", "npg_pd", "--set", "step_size=1"], "write agent.argument=value"),
        ([*CLIFF, "--agents", "npg_pd", "--seeds", "-1"], "each >= 0"),
        ([*CLIFF, "--agents", "npg_pd", "--workers", "0"], "workers is 0"),
        ([*CLIFF, "--agents"], "agents is empty"),
    ],
)
def test_command_refuses_before_any_job_starts(arguments, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().out
    assert not out.exists()
