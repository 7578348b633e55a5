"""Policies in ONNX files that do not keep to the format."""

import numpy as np
import onnx
import pytest
from gymnasium import spaces
from onnx import TensorProto, helper, numpy_helper

from baselines.__main__ import main
from baselines.policy_export.onnx_policy import OnnxPolicy, PolicyFileError

OBSERVATIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)
BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)


def onnx_file(nodes, outputs, size=2, constants=None):
    """Return a file with the input x (batch, size) and outputs by name, (type, width)."""
    graph = helper.make_graph(
        [
            helper.make_node(operator, given, [made], **rest)
            for operator, given, made, rest in nodes
        ],
        "policy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size])],
        [
            helper.make_tensor_value_info(name, kind, ["batch", *width])
            for name, (kind, *width) in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


FLOATS = (TensorProto.FLOAT, 2)
CLIPPED = ("Clip", ["mean", "low", "high"], "action", {})
BOUNDS = {"low": np.float32(-1.0), "high": np.float32(1.0), "twice": np.float32(2.0)}
MEAN = ("Mul", ["x", "twice"], "mean", {})  # beyond the bounds for some observations


def gaussian(action=CLIPPED, shift=0.0):
    nodes = [MEAN, action, ("Sub", ["x", "x"], "zero", {}), ("Add", ["zero", "s"], "log_std", {})]
    outputs = {"mean": FLOATS, "action": FLOATS, "log_std": FLOATS}
    return onnx_file(nodes, outputs, constants={**BOUNDS, "s": np.float32(shift)})


def test_actions_that_are_the_mean_within_the_bounds():
    policy = OnnxPolicy(gaussian(), OBSERVATIONS, BOX, 0)
    actions, _ = policy.predict(np.array([[0.25, 0.9]], dtype=np.float32), deterministic=True)
    assert actions.tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize("action", [("Neg", ["x"], "action", {}), ("Abs", ["x"], "action", {})])
def test_actions_that_are_not_the_mean(action):
    with pytest.raises(PolicyFileError, match=r"but its mean within the bounds is \["):
        OnnxPolicy(gaussian(action), OBSERVATIONS, BOX, 0)


def test_a_deviation_that_is_infinite():
    with pytest.raises(PolicyFileError, match=r"'log_std' of the file reaches 1e\+09"):
        OnnxPolicy(gaussian(shift=1e9), OBSERVATIONS, BOX, 0)
    OnnxPolicy(gaussian(shift=-1e9), OBSERVATIONS, BOX, 0)  # no noise at all


def test_rounding_of_actions_far_from_zero():
    """Between 1e6 and 1e6 + 1 a float32 has 16 steps; the mean is in float64."""
    nodes = [
        ("Cast", ["x"], "wide", {"to": TensorProto.DOUBLE}),
        ("Add", ["wide", "middle"], "mean", {}),
        ("Cast", ["mean"], "action", {"to": TensorProto.FLOAT}),
    ]
    outputs = {"mean": (TensorProto.DOUBLE, 2), "action": FLOATS}
    content = onnx_file(nodes, outputs, constants={"middle": np.float64(1e6 + 1.0)})
    OnnxPolicy(content, OBSERVATIONS, spaces.Box(1e6, 1e6 + 2.0, (2,), np.float32), 0)


def choosing(operator, width=2):
    nodes = [("Identity", ["x"], "logits", {})]
    nodes += [(operator, ["x"], "action", {"axis": 1, "keepdims": 0})]
    outputs = {"logits": (TensorProto.FLOAT, width), "action": (TensorProto.INT64,)}
    return onnx_file(nodes, outputs, size=width)


def test_actions_that_are_not_the_most_likely():
    OnnxPolicy(choosing("ArgMax"), OBSERVATIONS, spaces.Discrete(2, start=3), 0)
    with pytest.raises(PolicyFileError, match="do not make the most likely one"):
        OnnxPolicy(choosing("ArgMin"), OBSERVATIONS, spaces.Discrete(2, start=3), 0)


def test_equal_logits_leave_the_choice():
    constant = spaces.Box(0.5, 0.5, (2,), np.float32)
    OnnxPolicy(choosing("ArgMin"), constant, spaces.Discrete(2), 0)


def binary(operator):
    nodes = [
        ("Identity", ["x"], "logits", {}),
        (operator, ["x", "zero"], "chosen", {}),
        ("Cast", ["chosen"], "action", {"to": TensorProto.INT64}),
    ]
    outputs = {"logits": FLOATS, "action": (TensorProto.INT64, 2)}
    return onnx_file(nodes, outputs, constants={"zero": np.float32(0.0)})


def test_binary_actions():
    OnnxPolicy(binary("Greater"), OBSERVATIONS, spaces.MultiBinary(2), 0)
    with pytest.raises(PolicyFileError, match="do not make the most likely one"):
        OnnxPolicy(binary("Less"), OBSERVATIONS, spaces.MultiBinary(2), 0)


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
def test_several_choices(operator):
    nodes = [
        ("Identity", ["x"], "logits", {}),
        ("Reshape", ["x", "pairs"], "rows", {}),
        (operator, ["rows"], "action", {"axis": 2, "keepdims": 0}),
    ]
    outputs = {"logits": (TensorProto.FLOAT, 4), "action": (TensorProto.INT64, 2)}
    content = onnx_file(nodes, outputs, size=4, constants={"pairs": np.array([-1, 2, 2])})
    seen, space = spaces.Box(-1.0, 1.0, (4,), np.float32), spaces.MultiDiscrete([2, 2])
    if operator == "ArgMax":
        OnnxPolicy(content, seen, space, 0)
    else:
        with pytest.raises(PolicyFileError, match="do not make the most likely one"):
            OnnxPolicy(content, seen, space, 0)


def test_a_file_that_fails_at_run_time(tmp_path, monkeypatch, capsys):
    """Its shape comes from the observation, so that nothing is known before it runs."""
    nodes = [
        ("ReduceMax", ["x"], "largest", {"keepdims": 0}),
        ("Mul", ["largest", "zero"], "none", {}),
        ("Add", ["none", "many"], "count", {}),
        ("Cast", ["count"], "whole", {"to": TensorProto.INT64}),
        ("Reshape", ["whole", "one"], "shape", {}),
        ("ConstantOfShape", ["shape"], "filled", {}),
        ("ReduceMax", ["filled"], "zeros", {"keepdims": 0}),
        ("Add", ["x", "zeros"], "action", {}),
    ]
    constants = {"zero": np.float32(0.0), "many": np.float32(6.4e11), "one": np.array([1])}
    content = onnx_file(nodes, {"action": FLOATS}, constants=constants)
    with pytest.raises(PolicyFileError, match="ONNX Runtime failed: "):
        OnnxPolicy(content, OBSERVATIONS, BOX, 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb.onnx").write_bytes(content)
    words = "compare --envs Safe/DoubleIntegrator-v0 --agents bomb.onnx --out out"
    assert main(words.split()) == 2
    shown = capsys.readouterr().out.strip()
    assert "bomb.onnx on Safe/DoubleIntegrator-v0: ONNX Runtime failed: " in shown
    assert len(shown.splitlines()) == 1
    assert not (tmp_path / "out" / "report.html").exists()
