"""The exported file acts as the agent does, on raw observations and in the environment's units."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

import agents
from baselines.policy_export.policy_export import (
    ExportRefusedError,
    ParityError,
    check_parity,
    export_policy,
    onnx_session,
    policy_graph,
)
from safe_envs.contract.one_hot_box import OneHotBox
from tests.baselines.policy_export.drawing_env import (
    Drawing,
    flattened,
    moved_agent,
    raw_observations,
)

PAIR = spaces.Box(-np.inf, np.inf, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (40, 36, 3), np.uint8)
SIDES = spaces.Box(np.float32([-2.0, 1e6]), np.float32([6.0, 1e6 + 64]), (2,), np.float32)
MIXED = spaces.Dict(
    {
        "z": spaces.Box(-np.inf, np.inf, (2, 2), np.float32),
        "number": spaces.Discrete(3, start=4),
        "camera": IMAGE,
        "bits": spaces.MultiBinary(2),
        "a": PAIR,
        "state": OneHotBox(3),
    }
)
OBSERVATIONS = {
    "Box": PAIR,
    "matrix": spaces.Box(-np.inf, np.inf, (2, 3), np.float32),
    "whole": spaces.Box(0, 50_000, (3,), np.int64),
    "double": spaces.Box(-np.inf, np.inf, (2,), np.float64),
    "one-hot": OneHotBox(4),
    "Discrete": spaces.Discrete(5, start=-2),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2, 4], start=[1, 0, -7]),
    "MultiBinary": spaces.MultiBinary((2, 3)),
    "image": IMAGE,
    "channels first": spaces.Box(0, 255, (1, 36, 36), np.uint8),
    "Dict": MIXED,
    "Dict in a given order": spaces.Dict([("z", PAIR), ("a", spaces.Discrete(2))]),
}
ACTIONS = {
    "0-d": spaces.Box(-3.0, 5.0, (), np.float32),
    "one": spaces.Box(-1.0, 1.0, (1,), np.float32),
    "matrix": spaces.Box(0.0, 1000.0, (2, 2), np.float32),
    "deep": spaces.Box(-1e-3, 1e-3, (3, 1, 2), np.float64),
    "far away": spaces.Box(1e6, 1e6 + 1, (2,), np.float64),
    "sides": SIDES,
    "whole": spaces.Box(-3, 12, (2, 2), np.int32),
    "Discrete": spaces.Discrete(4, start=-1),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2, 5], start=[0, 9, -1]),
    "MultiBinary": spaces.MultiBinary(3),
}
ALL = [
    *((one, ACTIONS["matrix"]) for one in OBSERVATIONS.values()),
    *((PAIR, one) for one in ACTIONS.values()),
    (MIXED, ACTIONS["MultiDiscrete"]),
]
NAMES = [*OBSERVATIONS, *(f"actions {name}" for name in ACTIONS), "Dict to MultiDiscrete"]


def exported(model, space, path):
    export_policy(model, space, path / "policy.onnx", {})
    return onnx_session((path / "policy.onnx").read_bytes())


@pytest.mark.parametrize(("observations", "actions"), ALL, ids=NAMES)
def test_the_file_takes_the_agents_most_likely_actions(observations, actions, tmp_path):
    """To 1e-6 of half the range; observations have mean 1e4 and deviation 1e-3, doubles 300."""
    doubles = isinstance(observations, spaces.Box) and observations.dtype == np.float64
    model = moved_agent(observations, actions, deviation=300.0 if doubles else 1e-3)
    if np.issubdtype(observations.dtype, np.integer):
        model.policy.normalizer.squares.fill_(100.0 * 50.0**2)
    raw = raw_observations(model, observations)
    session = exported(model, observations, tmp_path)
    (action,) = session.run(["action"], {"observation": flattened(observations, raw)})
    expected = np.asarray(model.predict(raw, deterministic=True)[0])
    assert len(np.unique(expected)) > 1
    action = action.reshape(expected.shape)
    if isinstance(actions, spaces.Box) and actions.dtype != np.int32:
        assert action.dtype == actions.dtype
        half = (actions.high.astype(float) - actions.low) / 2
        np.testing.assert_allclose((action.astype(float) - expected) / half, 0.0, atol=1e-6)
    else:
        start = np.asarray(getattr(actions, "start", 0))
        np.testing.assert_array_equal(action + start, expected)


@pytest.mark.parametrize("name", ["0-d", "matrix", "deep", "far away", "sides", "whole"])
def test_mean_and_deviation_are_in_the_environments_units(name, tmp_path):
    """A draw u ~ Normal(mean_u, std_u) of the policy becomes middle + half u."""
    actions = ACTIONS[name]
    model = moved_agent(PAIR, actions)
    raw = raw_observations(model, PAIR)
    session = exported(model, PAIR, tmp_path)
    mean, log_std = session.run(["mean", "log_std"], {"observation": raw})
    assert mean.dtype == log_std.dtype == np.float64
    low, high = actions.low.astype(float).ravel(), actions.high.astype(float).ravel()
    half, middle = (high - low) / 2, (high + low) / 2
    with torch.no_grad():
        own = model.policy.get_distribution(torch.as_tensor(raw)).distribution
    np.testing.assert_allclose((mean - middle) / half, own.mean, atol=2e-6)
    np.testing.assert_allclose(np.exp(log_std) / half, own.stddev, rtol=1e-6)


@pytest.mark.parametrize("name", ["Discrete", "MultiDiscrete", "MultiBinary"])
def test_logits_give_the_agents_probabilities(name, tmp_path):
    actions = ACTIONS[name]
    model = moved_agent(PAIR, actions)
    raw = raw_observations(model, PAIR, 50)
    (logits,) = exported(model, PAIR, tmp_path).run(["logits"], {"observation": raw})
    with torch.no_grad():
        own = model.policy.get_distribution(torch.as_tensor(raw)).distribution
    if name == "MultiBinary":
        np.testing.assert_allclose(1.0 / (1.0 + np.exp(-logits)), own.probs, atol=1e-6)
        return
    sizes = [actions.n] if name == "Discrete" else actions.nvec
    each = own if name == "MultiDiscrete" else [own]
    for part, one in zip(np.split(logits, np.cumsum(sizes)[:-1], axis=1), each, strict=True):
        weights = np.exp(part)
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities, one.probs, atol=1e-6)


def test_entries_that_never_varied_are_ignored(tmp_path):
    model = moved_agent(PAIR, ACTIONS["one"])
    model.policy.normalizer.set_moments([5.0, 0.0], [0.0, 1.0], count=10.0)
    rows = np.array([[5.0, 0.3], [-1e6, 0.3]], dtype=np.float32)
    (action,) = exported(model, PAIR, tmp_path).run(["action"], {"observation": rows})
    np.testing.assert_array_equal(action[0], action[1])
    np.testing.assert_allclose(action, model.predict(rows, deterministic=True)[0], atol=1e-6)


def test_observations_that_are_not_standardized_go_in_as_they_are(tmp_path):
    model = moved_agent(PAIR, ACTIONS["one"], normalize_observation=False)
    rows = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    session = exported(model, PAIR, tmp_path)
    (action,) = session.run(["action"], {"observation": rows})
    np.testing.assert_allclose(action, model.predict(rows, deterministic=True)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["image", "channels first"])
def test_images_may_be_flat_features(name, tmp_path):
    """MlpPolicy divides them by 255 as CnnPolicy does."""
    space = OBSERVATIONS[name]
    model = moved_agent(space, ACTIONS["one"], policy="MlpPolicy")
    raw = raw_observations(model, space, 20)
    session = exported(model, space, tmp_path)
    (action,) = session.run(["action"], {"observation": flattened(space, raw)})
    np.testing.assert_allclose(action, model.predict(raw, deterministic=True)[0], atol=1e-6)


def test_a_loaded_agent_exports_the_same_file(tmp_path):
    model = moved_agent(MIXED, ACTIONS["sides"])
    model.save(tmp_path / "model.zip")
    loaded = agents.PPOLag.load(tmp_path / "model.zip")
    files = [policy_graph(one, MIXED, {"a": "b"}).SerializeToString() for one in (model, loaded)]
    assert files[0] == files[1]


def test_a_file_that_differs_is_an_error():
    model = moved_agent(PAIR, ACTIONS["matrix"])
    content = policy_graph(model, PAIR, {}).SerializeToString()
    check_parity(content, model, PAIR)
    with torch.no_grad():
        model.policy.action_net.bias.add_(1e-3)
    with pytest.raises(ParityError, match=r"differs from the original by \d.\de-0[34]; allowed: 1"):
        check_parity(content, model, PAIR)


class Halved(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, 2)

    def forward(self, observations):
        return observations / 2


def refusal(model, space, tmp_path):
    with pytest.raises(ExportRefusedError) as caught:
        export_policy(model, space, tmp_path / "policy.onnx", {})
    assert not (tmp_path / "policy.onnx").exists()
    return str(caught.value)


def test_layers_and_features_of_other_kinds_are_refused(tmp_path):
    gelu = moved_agent(PAIR, ACTIONS["one"], policy_kwargs={"activation_fn": torch.nn.GELU})
    said = refusal(gelu, PAIR, tmp_path)
    assert "the network has a layer GELU; export takes Linear, Tanh, ReLU, ELU" in said
    own = moved_agent(PAIR, ACTIONS["one"], policy_kwargs={"features_extractor_class": Halved})
    assert "features come from Halved; export takes the features of" in refusal(own, PAIR, tmp_path)


def test_float64_observations_that_float32_cannot_hold_are_refused(tmp_path):
    """At 1e4, float32 numbers are 1e-3 apart."""
    space = OBSERVATIONS["double"]
    model = moved_agent(space, ACTIONS["one"])
    said = refusal(model, space, tmp_path)
    assert "the observations are large and vary little, and the file's input, float32" in said
    assert "subtract a constant from the observations in the environment" in said
    model.policy.normalizer.set_moments([0.0, 1e60], [1.0, 1e60])
    assert "beyond 3e38, where float32 ends" in refusal(model, space, tmp_path)


@pytest.mark.parametrize("loaded", [False, True])
def test_standardization_outside_of_the_agent_is_refused(loaded, tmp_path):
    venv = VecNormalize(DummyVecEnv([lambda: Drawing(PAIR, ACTIONS["one"])]), norm_reward=False)
    model = agents.PPOLag("MlpPolicy", venv, cost_limit=1.0, seed=0)
    if loaded:
        model.save(tmp_path / "model.zip")
        model = agents.PPOLag.load(tmp_path / "model.zip")
    said = refusal(model, PAIR, tmp_path)
    assert "standardized by VecNormalize, outside of the agent" in said
    assert "normalize_observation=True" in said


def test_observations_other_than_the_environments_are_refused(tmp_path):
    venv = VecFrameStack(DummyVecEnv([lambda: Drawing(PAIR, ACTIONS["one"])]), 3)
    model = agents.PPOLag("MlpPolicy", venv, cost_limit=1.0, seed=0)
    said = refusal(model, PAIR, tmp_path)
    assert "the agent observes Box(-inf, inf, (6,), float32) and the environment gives" in said
    assert "observations are Tuple; the file has one flat input" in refusal(
        model, spaces.Tuple([PAIR]), tmp_path
    )
