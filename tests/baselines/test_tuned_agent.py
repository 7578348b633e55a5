"""Tuned settings from Python are those of the command line, and the classes' own defaults."""

import inspect

import pytest
from torch import nn

import agents
import baselines
from agents.schedules import LinearDecay
from baselines.names.agents import DEEP_AGENTS, default_hyperparameters
from baselines.names.hyperparameters import FOLDER, hyperparameters_for


@pytest.mark.parametrize("name", DEEP_AGENTS)
def test_files_hold_what_differs_by_environment_only(name):
    """What suits every environment is the class's default, so that Python users have it too."""
    lines = (FOLDER / f"{name}.toml").read_text().splitlines()
    assert "[default]" not in [line.strip() for line in lines]
    assert hyperparameters_for(name, "no table/for-this") == default_hyperparameters(name)


def test_a_table_of_an_environment_is_applied():
    agent = baselines.tuned("PPOLag", "Safe/DeepSeaTreasure-v0", seed=3)
    assert (agent.n_envs, agent.n_steps, agent.seed) == (64, 16, 3)
    assert agent.learning_rate == LinearDecay(0.01)
    assert agent.policy.net_arch == {"pi": [], "vf": []}
    assert agent.settings["batch_size"] == 1024


def test_arguments_override_the_table():
    agent = baselines.tuned(
        "PPOALM", "Safe/CliffWorld-v0?per_constraint=true", penalty=2.0, n_envs=2
    )
    assert (agent.n_envs, agent.settings["penalty"], len(agent.constraints)) == (2, 2.0, 3)


def test_takes_every_argument_of_the_class():
    """Those that the command line sets itself, and classes where files name them, included."""
    agent = baselines.tuned(
        "PPOLag",
        "Safe/CliffWorld-v0",
        verbose=1,
        tensorboard_log="logs",
        stats_window_size=7,
        policy_kwargs={"activation_fn": nn.ELU},
    )
    assert (agent.verbose, agent.tensorboard_log, agent.n_steps) == (1, "logs", 32)
    assert agent.ep_info_buffer is None or agent.ep_info_buffer.maxlen == 7
    assert agent.policy.activation_fn is nn.ELU
    everything = {one: default for one, default in agents.CPO.arguments().items() if one != "seed"}
    assert repr(baselines.tuned("CPO", "Safe/CliffWorld-v0", **{**everything, "verbose": 0}))


def test_without_a_table_it_is_the_class():
    agent = baselines.tuned("SPMAALM", "Safe/DoubleIntegrator-v0")
    plain = agents.SPMAALM("MlpPolicy", "Safe/DoubleIntegrator-v0", seed=0)
    assert agent.settings == plain.settings
    assert agent.learning_rate == plain.learning_rate
    assert agent.n_steps == plain.n_steps == 2048


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("PPOLga", "Safe/CliffWorld-v0"), "did you mean 'PPOLag'"),
        (("pqa_alm", "Safe/CliffWorld-v0"), "unknown agent 'pqa_alm'"),
    ],
)
def test_unknown_names(given, message):
    with pytest.raises(ValueError, match=message):
        baselines.tuned(*given)
    with pytest.raises(ValueError, match="unknown hyperparameter 'penlty'"):
        baselines.tuned("PPOALM", "Safe/CliffWorld-v0", penlty=1)


def test_signature_says_what_it_takes():
    assert list(inspect.signature(baselines.tuned).parameters) == [
        "agent",
        "env",
        "seed",
        "changes",
    ]
