import contextlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from leaderboard.policy_files import onnx_rules, operator_rules
from leaderboard.policy_files.gate import check_graph, check_policy
from leaderboard.sandbox.policy import SandboxedPolicy
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import ACTIONS, FORM, OBSERVATIONS, changed
from tests.leaderboard.policy_files.hostile_content import convolution


def test_every_operator_of_our_exporters_is_allowed():
    """The residual policies of SCPO use some operators that no other policy uses."""
    ours = {"Gemm", "MatMul", "Sub", "Div", "Mul", "Add", "Clip", "Cast", "Tanh", "Relu", "Elu"}
    ours |= {"Identity", "ArgMax", "Max", "Min", "ReduceL2", "Sigmoid", "Conv", "Flatten", "Slice"}
    ours |= {"Reshape", "Transpose", "Concat", "Gather", "Greater", "Round"}
    assert ours <= onnx_rules.OPERATORS


def test_no_operator_with_a_subgraph_randomness_or_a_size_from_data_is_allowed():
    dangerous = {"Loop", "If", "Scan", "SequenceMap", "Expand", "ConstantOfShape", "Tile", "Pad"}
    dangerous |= {"Range", "Resize", "OneHot", "EyeLike", "Upsample", "Bernoulli", "Multinomial"}
    dangerous |= {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    dangerous |= {"Dropout", "StringConcat", "CastLike", "ImageDecoder"}
    assert not dangerous & onnx_rules.OPERATORS
    for name in onnx_rules.OPERATORS:
        schema = onnx.defs.get_schema(name, 20)
        kinds = {attribute.type for attribute in schema.attributes.values()}
        assert onnx.defs.OpSchema.AttrType.GRAPH not in kinds, name


def test_a_convolution_runs():
    content = convolution(strides=[2, 2], pads=[0, 0, 0, 0], group=1)
    with SandboxedPolicy(content, check_graph(content, OBSERVATIONS, ACTIONS)) as policy:
        found = policy.outputs(models.ROW)["action"]
    np.testing.assert_allclose(found, models.ROW[:, :2] + models.ROW.sum(), atol=1e-6)


def test_infinite_bounds_are_accepted():
    def clip(found):
        found.graph.initializer.add(
            name="bound", data_type=TensorProto.FLOAT, float_data=[float("inf")]
        )

    check_graph(changed(models.box_policy(), clip), OBSERVATIONS, ACTIONS)


def test_attributes_that_exporters_write_are_accepted():
    """Our rules name every attribute of every allowed operator, but for text and sparse tensors."""
    left_out = {"sparse_value", "value_string", "value_strings"}
    for name in onnx_rules.OPERATORS:
        for opset in onnx_rules.OPSETS:
            with contextlib.suppress(onnx.defs.SchemaError):
                declared = set(onnx.defs.get_schema(name, opset).attributes)
                assert declared - left_out <= operator_rules.ATTRIBUTES.keys(), name


def normalized(**attributes):
    """A policy with batch normalization in evaluation mode."""
    inputs = ["plain", "scale", "shift", "mean", "variance"]
    node = helper.make_node("BatchNormalization", inputs, ["evil"], **attributes)
    constants = {name: np.array([1.0, 4.0], np.float32) for name in inputs[1:]}
    found = onnx.ModelProto.FromString(models.spoiled([], constants))
    found.graph.node.insert(1, node)
    return found.SerializeToString()


@pytest.mark.parametrize("attributes", [{}, {"training_mode": 0, "momentum": 0.9, "epsilon": 0.0}])
def test_normalization_in_evaluation_mode_passes(attributes):
    content = normalized(**attributes)
    assert check_policy(content, OBSERVATIONS, ACTIONS) == FORM
    with SandboxedPolicy(content, FORM) as policy:
        found = policy.outputs(models.ROW)["action"]
    plain, weight = models.ROW[:, :2], np.array([1.0, 4.0])
    expected = plain + weight * (plain - weight) / np.sqrt(weight + attributes.get("epsilon", 1e-5))
    np.testing.assert_allclose(found, expected + weight, rtol=1e-6)
