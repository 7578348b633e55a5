"""Exact values of a trained policy against those of its exported file."""

import json

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console
from scipy.special import softmax

from baselines.commands.train import TrainOptions, train
from baselines.names.environments import find_tabular_observations, parse_environment_name
from baselines.onnx_runtime import InferenceSession

ENV = "Safe/DeepSeaTreasure-v0"


def trained(folder, observation, normalized):
    env = f"{ENV}?observation={observation}"
    overrides = (f"normalize_observation={normalized}", "n_epochs=2")
    options = TrainOptions("PPOLag", env, folder, 1024, 3, overrides, 20)
    assert train(options, Console(quiet=True)) == 0
    result = json.loads((folder / "result.json").read_text())
    return result, (folder / "policy.onnx").read_bytes()


@pytest.mark.parametrize("normalized", ["true", "false"])
def test_one_hot_policies_have_the_values_of_their_files(tmp_path, normalized):
    """One-hot vectors are not standardized, whatever the setting."""
    result, content = trained(tmp_path / "run", "one_hot", normalized)
    (logits,) = InferenceSession(content).run(
        ["logits"], {"observation": np.eye(25, dtype=np.float32)}
    )
    cmdp = gym.make(ENV).unwrapped.tabular_model()
    policies = {
        "stochastic": softmax(logits.astype(float), axis=1),
        "deterministic": np.eye(2)[logits.argmax(axis=1)],
    }
    for mode, policy in policies.items():
        exact = cmdp.evaluate(policy)
        assert result[mode]["exact"]["value"] == pytest.approx(exact.value, abs=1e-6)
        assert result[mode]["exact"]["costs"] == pytest.approx(exact.costs, abs=1e-6)


def test_runs_on_both_observations_are_alike(tmp_path):
    """Neither numbers nor one-hot vectors are standardized."""
    index, one_hot = (
        trained(tmp_path / observation, observation, "true")[0]
        for observation in ("index", "one_hot")
    )
    for mode in ("stochastic", "deterministic"):
        assert index[mode] == one_hot[mode]


class ShowsNothingKnown(gym.Env):
    """Has a model, and observations of which nothing is known."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def tabular_model(self):
        return gym.make(ENV).unwrapped.tabular_model()


class ShowsNumbers(ShowsNothingKnown):
    observation_space = gym.spaces.Discrete(25)


@pytest.mark.parametrize(
    ("kind", "seen"), [(ShowsNothingKnown, None), (ShowsNumbers, list(range(25)))]
)
def test_what_other_environments_show_of_their_states(kind, seen):
    gym.register("Test/Own-v0", entry_point=lambda: kind())
    try:
        found = find_tabular_observations(parse_environment_name("Test/Own-v0"))
    finally:
        del gym.registry["Test/Own-v0"]
    assert (found if found is None else found.tolist()) == seen
    assert find_tabular_observations(parse_environment_name("CartPole-v1")) is None
