import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from onnx import TensorProto

from agents import PPOLag
from baselines.policy_export.policy_export import flat_observations, onnx_session, policy_graph
from leaderboard.evaluation.episodes import actions_of
from leaderboard.policy_files.gate import (
    PolicyRefused,
    check_actions,
    check_graph,
    check_policy,
    probe_observations,
)
from leaderboard.sandbox.policy import PolicyFailed, SandboxedPolicy
from leaderboard.sandbox.policy_signature import PolicyOutput, PolicySignature
from tests.baselines.policy_export.drawing_env import flattened, moved_agent, raw_observations
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import ACTIONS, CHOICES, OBSERVATIONS, Network, changed


def refusal(content, observations=OBSERVATIONS, actions=ACTIONS, check=check_graph):
    with pytest.raises(PolicyRefused) as caught:
        check(content, observations, actions)
    return str(caught.value)


FLOATS = PolicyOutput("action", 2, whole=False)


@pytest.mark.parametrize(
    ("content", "actions", "outputs"),
    [
        (models.box_policy(), ACTIONS, (FLOATS,)),
        (
            models.gaussian_policy(),
            ACTIONS,
            (PolicyOutput("mean", 2, False), PolicyOutput("log_std", 2, False), FLOATS),
        ),
        (
            models.discrete_policy(),
            CHOICES,
            (PolicyOutput("logits", 5, False), PolicyOutput("action", 1, True)),
        ),
        (
            models.discrete_policy(keepdims=1),
            CHOICES,
            (PolicyOutput("logits", 5, False), PolicyOutput("action", 1, True)),
        ),
        (
            models.network_policy(Network.random(4, 5), "logits"),
            CHOICES,
            (PolicyOutput("logits", 5, False),),
        ),
    ],
    ids=["action", "gaussian", "discrete", "discrete column", "logits"],
)
def test_good_policies_pass_and_have_their_signature(content, actions, outputs):
    assert check_policy(content, OBSERVATIONS, actions) == PolicySignature(4, outputs)


def test_the_signature_says_how_actions_can_be_chosen():
    form = check_graph(models.gaussian_policy(), OBSERVATIONS, ACTIONS)
    assert form.names == ("mean", "log_std", "action")
    assert form.has_action
    assert form.has_distribution
    form = check_graph(models.box_policy(), OBSERVATIONS, ACTIONS)
    assert form.has_action
    assert not form.has_distribution


@pytest.mark.parametrize("env", ["Safe/DeepSeaTreasure-v0", "Safe/DoubleIntegrator-v0"])
def test_our_own_exports_pass(env):
    model = PPOLag("MlpPolicy", env)
    content = policy_graph(model, model.observation_space, {"agent": "x"}).SerializeToString()
    form = check_policy(content, model.observation_space, model.action_space)
    space = gym.make(env).observation_space
    space.seed(1)
    rows = flat_observations(space, np.array([space.sample() for _ in range(20)]))
    with SandboxedPolicy(content, form) as policy:
        found = policy.outputs(rows)
    expected = onnx_session(content).run(list(form.names), {"observation": rows})
    for name, values in zip(form.names, expected, strict=True):
        np.testing.assert_allclose(found[name], values.reshape(20, -1), atol=1e-6)


EVERY_KIND = [
    (spaces.Discrete(3, start=4), spaces.MultiDiscrete([3, 2, 4], start=[0, -5, 1])),
    (spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.MultiBinary(3)),
    (spaces.Box(0, 255, (36, 40, 3), np.uint8), spaces.Box(-5, 40, (2, 2), np.int64)),
    (
        spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(-1.0, 1.0, (3, 1))}),
        spaces.Box(1e6, 1e6 + 1, (1, 3), np.float64),
    ),
]


@pytest.mark.parametrize(("observations", "actions"), EVERY_KIND)
def test_the_evaluation_plays_our_exports_as_the_agent_acts(observations, actions):
    model = moved_agent(observations, actions, mean=0.3, deviation=0.5)
    content = policy_graph(model, observations, {}).SerializeToString()
    form = check_policy(content, observations, actions)
    raw = raw_observations(model, observations, 20)
    expected = np.asarray(model.predict(raw, deterministic=True)[0])
    with SandboxedPolicy(content, form) as policy:
        found = policy.outputs(flattened(observations, raw))
    generators = [np.random.default_rng(i) for i in range(20)]
    played = np.array(actions_of(found, actions, False, generators))
    np.testing.assert_allclose(played, expected, rtol=0.0, atol=1e-6)
    assert all(action in actions for action in played)
    assert all(action in actions for action in actions_of(found, actions, True, generators))
    drawn = {name: values for name, values in found.items() if name != "action"}
    again = np.array(actions_of(drawn, actions, False, generators))
    np.testing.assert_allclose(again, expected, rtol=0.0, atol=1e-6)


FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.mark.parametrize(
    ("kinds", "actions", "message"),
    [
        (
            {"actions": (FLOAT, ["b", 2])},
            ACTIONS,
            "the outputs are 'actions'; allowed for Box.* are action; or log_std and mean; or "
            "action and log_std and mean; rename the outputs of the graph",
        ),
        ({"mean": (FLOAT, ["b", 2])}, ACTIONS, "the outputs are 'mean'; allowed for Box"),
        ({"logits": (FLOAT, ["b", 2])}, ACTIONS, "the outputs are 'logits'; allowed for Box"),
        (
            {"mean": (FLOAT, ["b", 5]), "log_std": (FLOAT, ["b", 5])},
            CHOICES,
            r"the outputs are 'mean', 'log_std'; allowed for Discrete\(5\) are action; or logits; "
            "or action and logits",
        ),
        ({}, ACTIONS, "the outputs are none; allowed for Box"),
        (
            {"action": (FLOAT, ["b", 3])},
            ACTIONS,
            r"the output 'action' has the shape \(\?, 3\); allowed: \(batch, 2\); reshape it",
        ),
        ({"action": (FLOAT, [7, 2])}, ACTIONS, r"has the shape \(7, 2\); allowed:"),
        ({"action": (FLOAT, [])}, ACTIONS, r"has the shape \(\); allowed:"),
        (
            {"action": (INT64, ["b", 2])},
            ACTIONS,
            "the output 'action' has the element type INT64; allowed: FLOAT or DOUBLE; cast it",
        ),
        (
            {"action": (FLOAT, ["b"])},
            CHOICES,
            "the output 'action' has the element type FLOAT; allowed: INT64 or INT32; cast it",
        ),
        (
            {"action": (INT64, ["b", 2])},
            CHOICES,
            r"has the shape \(\?, 2\); allowed: \(batch, 1\) or \(batch,\); reshape it",
        ),
    ],
)
def test_wrong_outputs_are_refused(kinds, actions, message):
    content = models.model([], None, kinds or {"action": (FLOAT, ["b", 2])})
    if not kinds:
        del content.graph.output[:]
    assert re.search(message, refusal(content.SerializeToString(), actions=actions))


def test_an_output_twice_is_refused():
    content = changed(
        models.box_policy(), lambda m: m.graph.output.add().CopyFrom(m.graph.output[0])
    )
    assert re.search("the outputs are 'action', 'action'; allowed", refusal(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.graph.input.add(name="y"), "the graph has 2 inputs; allowed: one float32"),
        (lambda m: m.graph.ClearField("input"), "the graph has 0 inputs; allowed: one float32"),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11),
            r"the input has the element type DOUBLE; allowed: one float32 input of shape "
            r"\(batch, 4\); cast it",
        ),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 7),
            r"the input has the shape \(\?, 7\); allowed: one float32 input of shape \(batch, 4\)"
            "; flatten observations with gymnasium.spaces.flatten",
        ),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 32),
            r"the input has the shape \(32, 4\); allowed:",
        ),
    ],
)
def test_wrong_inputs_are_refused(change, message):
    assert re.search(message, refusal(changed(models.box_policy(), change)))


def test_input_of_fixed_batch_one_and_any_name_is_accepted():
    def fix(found):
        found.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    content = changed(models.box_policy(), fix)
    assert check_policy(content, OBSERVATIONS, ACTIONS).names == ("action",)


@pytest.mark.parametrize("space", [spaces.Tuple([ACTIONS]), spaces.Text(3), spaces.Dict()])
def test_unsupported_action_spaces_are_named(space):
    with pytest.raises(ValueError, match="policy files support Box, Discrete, MultiDiscrete and M"):
        check_graph(models.box_policy(), OBSERVATIONS, space)


TRIAL_ATTACKS = {
    "NaN": (models.not_a_number(), "the policy answered 'action' with numbers that are not finite"),
    "infinity": (
        models.infinite(),
        "the policy answered 'action' with numbers that are not finite",
    ),
    "NaN beyond 1000": (models.not_finite_beyond(1000.0), "'action' with numbers that are not fin"),
    "wrong shape": (
        models.wrong_shape(),
        r"the policy (answered 'action' with a shape other than \(batch, 2\)|cannot be loaded)",
    ),
    "unfit weights": (
        changed(models.box_policy(), lambda m: setattr(m.graph.node[0], "op_type", "Clip")),
        "the policy cannot be loaded by ONNX Runtime; allowed: finite numbers",
    ),
}


@pytest.mark.parametrize("name", TRIAL_ATTACKS)
def test_misbehavior_shows_in_the_trial(name):
    content, message = TRIAL_ATTACKS[name]
    check_graph(content, OBSERVATIONS, ACTIONS)
    said = refusal(content, check=check_policy)
    assert re.search(message, said)
    assert said.endswith("try it on such observations")


def test_discrete_action_that_does_not_exist_is_refused():
    content = models.discrete_policy(choices=7)
    content = changed(content, lambda m: m.graph.output.__delitem__(0))
    assert check_policy(content, OBSERVATIONS, spaces.Discrete(7)).names == ("action",)
    said = refusal(content, actions=spaces.Discrete(1), check=check_policy)
    assert re.search("the policy answered an action outside 0 to 0; allowed: finite", said)


@pytest.mark.parametrize(
    ("answer", "space", "message"),
    [
        ([[0, 2]], spaces.MultiDiscrete([3, 2]), "an action outside 0 to 2 or 1"),
        ([[-1, 0]], spaces.MultiDiscrete([3, 2]), "an action outside 0 to 2 or 1"),
        ([[0, 2]], spaces.MultiBinary(2), "an action outside 0 to 1"),
    ],
)
def test_choices_that_do_not_exist_are_the_policys_failure(answer, space, message):
    with pytest.raises(PolicyFailed, match=message):
        check_actions({"action": np.array(answer)}, space)
    check_actions({"action": np.array([[2, 1], [0, 0]]) % 2}, space)


def test_one_whole_number_for_several_is_refused():
    """ONNX Runtime's answer (batch,) would be repeated for every entry."""
    content = models.discrete_policy()
    content = changed(content, lambda m: m.graph.output.__delitem__(0))
    said = refusal(content, actions=spaces.MultiDiscrete([5, 5]))
    assert "the output 'action' has the shape (?); allowed: (batch, 2); reshape it" in said
    content = changed(content, lambda m: m.graph.output[0].type.tensor_type.ClearField("shape"))
    check_graph(content, OBSERVATIONS, spaces.MultiDiscrete([5, 5]))
    said = refusal(content, actions=spaces.MultiDiscrete([5, 5]), check=check_policy)
    assert "the policy answered 'action' with a shape other than (batch, 2)" in said


def test_probes_are_flat_observations_of_the_space():
    low, high = np.array([-np.inf, 2.0, -1.0]), np.array([np.inf, 3.0, np.inf])
    box = spaces.Box(low.astype(np.float32), high.astype(np.float32))
    random, extremes = probe_observations(box)
    assert random.shape == (16, 3)
    assert all(row in box for row in [*random, *extremes])
    expected = [[0, 2, 0], [-1e6, 2, -1], [1e6, 3, 1e6], [1e6, 2, 1e6]]
    np.testing.assert_array_equal(extremes, np.float32(expected))
    one_hot, again = probe_observations(spaces.Discrete(6))
    assert (one_hot.sum(axis=1) == 1).all()
    assert again.shape == (1, 6)


def test_probes_leave_the_random_state_of_the_space_alone():
    first, second = spaces.Discrete(1000, seed=3), spaces.Discrete(1000, seed=3)
    probe_observations(first)
    assert [first.sample() for _ in range(5)] == [second.sample() for _ in range(5)]


def test_policy_that_fails_does_so_as_policy_failed():
    form = check_graph(models.not_a_number(), OBSERVATIONS, ACTIONS)
    with (
        SandboxedPolicy(models.not_a_number(), form) as policy,
        pytest.raises(PolicyFailed, match="the policy answered 'action' with numbers that are not"),
    ):
        policy.outputs(np.zeros((1, 4), np.float32))
