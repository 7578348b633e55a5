"""RL Zoo reads the tuned settings as the runner does."""

import gymnasium as gym
import pytest
import yaml

from baselines.names.agents import DEEP_AGENTS, default_hyperparameters
from baselines.names.hyperparameters import hyperparameters_for
from baselines.zoo_settings import as_yaml, main, zoo_settings


def read_back(agent, env_id, capsys):
    assert main([agent, env_id, "--total-timesteps", "5000"]) == 0
    return yaml.safe_load(capsys.readouterr().out)[env_id]


@pytest.mark.parametrize("env_id", ["Safe/DeepSeaTreasure-v0", "Safe/DoubleIntegrator-v0"])
@pytest.mark.parametrize("agent", DEEP_AGENTS)
def test_the_file_has_the_runners_settings(agent, env_id, capsys):
    entry = read_back(agent, env_id, capsys)
    expected = hyperparameters_for(agent, env_id)
    assert entry.pop("n_timesteps") == 5000
    assert entry.pop("policy") == "MlpPolicy"
    assert "normalize" not in entry  # the agents standardize observations themselves
    assert {**default_hyperparameters(agent), **entry, "policy": None} == expected


class DictEnv(gym.Env):
    observation_space = gym.spaces.Dict({"place": gym.spaces.Box(-1.0, 1.0, (2,))})
    action_space = gym.spaces.Discrete(2)


def test_dictionaries_get_their_policy(monkeypatch):
    spec = gym.envs.registration.EnvSpec("DictForZoo-v0", DictEnv, disable_env_checker=True)
    monkeypatch.setitem(gym.registry, "DictForZoo-v0", spec)
    entry = zoo_settings("PPOLag", "DictForZoo-v0", 1)
    assert entry["policy"] == "MultiInputPolicy"


def test_numbers_stay_numbers():
    entry = {"a": 1e-5, "b": 2.5e-7, "c": 1e22, "d": float("inf"), "e": 0.3, "f": -1e-9, "g": True}
    nested = {"none": None, "list": [1e-5, "lin_1e-4"], "dict": {"text": "1e-5", "number": 3}}
    assert yaml.safe_load(as_yaml("Some/Env-v0", entry | nested)) == {"Some/Env-v0": entry | nested}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PPOLg", "Safe/CliffWorld-v0"], "unknown agent 'PPOLg'; did you mean 'PPOLag'?"),
        (["pqa_alm", "Safe/CliffWorld-v0"], "pqa_alm is not a deep agent"),
        (["CPO", "Safe/NoWorld-v0"], "doesn't exist"),
    ],
)
def test_refusals(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
