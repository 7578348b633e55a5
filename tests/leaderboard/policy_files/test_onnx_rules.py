import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from leaderboard.policy_files import onnx_rules
from leaderboard.policy_files.gate import check_graph
from leaderboard.sandbox.policy import SandboxedPolicy
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import ACTIONS, OBSERVATIONS, changed


def refusal(content):
    with pytest.raises(onnx_rules.PolicyRefused) as caught:
        check_graph(content, OBSERVATIONS, ACTIONS)
    return str(caught.value)


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


def convolution(**attributes):
    """A policy that adds the largest number of a convolution of the observation as an image."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["image"]),
        helper.make_node("Conv", ["image", "kernel"], ["filtered"], **attributes),
        helper.make_node("ReduceMax", ["filtered"], ["evil"], keepdims=0),
    ]
    constants = {"shape": np.array([1, 1, 2, 2]), "kernel": np.ones((1, 1, 2, 2), np.float32)}
    return models.spoiled(nodes, constants)


def test_a_convolution_runs():
    content = convolution(strides=[2, 2], pads=[0, 0, 0, 0], group=1)
    with SandboxedPolicy(content, check_graph(content, OBSERVATIONS, ACTIONS)) as policy:
        found = policy.outputs(models.ROW)["action"]
    np.testing.assert_allclose(found, models.ROW[:, :2] + models.ROW.sum(), atol=1e-6)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [0, 0, 100_000, 0]},
        {"pads": [-1, 0, 0, 0]},
        {"dilations": [2**62, 1]},
        {"strides": [1, -(2**63)]},
        {"kernel_shape": [1025, 1]},
        {"group": -1},
    ],
)
def test_convolutions_of_absurd_sizes_are_refused(attributes):
    (name,) = attributes
    said = refusal(convolution(**attributes))
    assert f"node 1 is a Conv whose '{name}' is below 0 or above 1,024; submit a smaller" in said


def with_function(found):
    function = found.functions.add(name="f", domain="evil")
    function.node.add(op_type="Loop")


def big_tensor(found):
    found.graph.initializer.add(
        name="zeros", data_type=TensorProto.INT64, dims=[700_000], int64_data=[0] * 700_000
    )


FIELDS = {
    "functions": (with_function, "the model has 'functions'; allowed: doc_string, domain"),
    "training": (lambda m: m.training_info.add(), "the model has 'training_info'; allowed:"),
    "sparse": (
        lambda m: m.graph.sparse_initializer.add(),
        "the graph has 'sparse_initializer'; allowed: doc_string, initializer",
    ),
    "quantization": (
        lambda m: m.graph.quantization_annotation.add(),
        "the graph has 'quantization_annotation'; allowed:",
    ),
    "strings": (
        lambda m: m.graph.initializer.add(
            name="s", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"]
        ),
        "tensor 's' has 'string_data'; allowed:",
    ),
    "string type": (
        lambda m: m.graph.initializer.add(name="s", data_type=TensorProto.STRING, dims=[0]),
        "tensor 's' has the element type STRING; allowed: FLOAT, DOUBLE, INT32, INT64, BOOL",
    ),
    "unknown type": (
        lambda m: m.graph.initializer.add(name="s", data_type=999, dims=[0]),
        "tensor 's' has the element type 999, which ONNX does not define; allowed:",
    ),
    "segment": (
        lambda m: m.graph.initializer[0].segment.SetInParent(),
        "tensor 'w0' has 'segment'; allowed:",
    ),
    "small on disk, large in memory": (
        big_tensor,
        "the tensors have more than 5,242,880 bytes; submit a smaller network",
    ),
    "two kinds of data": (
        lambda m: m.graph.initializer[0].float_data.append(1.0),
        "tensor 'w0' holds float_data, raw_data; allowed: raw_data or float_data; keep one",
    ),
    "data of another type": (
        lambda m: m.graph.initializer.add(
            name="s", data_type=TensorProto.FLOAT, dims=[1], int64_data=[1]
        ),
        "tensor 's' holds int64_data; allowed: raw_data or float_data; keep one",
    ),
    "half a number": (
        lambda m: m.graph.initializer.add(
            name="s", data_type=TensorProto.FLOAT, dims=[1], raw_data=b"123"
        ),
        "tensor 's' declares 1 numbers but holds a different number",
    ),
    "negative dimension": (
        lambda m: m.graph.initializer.add(name="s", data_type=TensorProto.FLOAT, dims=[-1]),
        "tensor 's' has an impossible shape; allowed: up to 8 sizes >= 0",
    ),
    "nine dimensions": (
        lambda m: m.graph.initializer.add(name="s", data_type=TensorProto.FLOAT, dims=[0] * 9),
        "tensor 's' has an impossible shape; allowed: up to 8 sizes >= 0",
    ),
    "NaN": (
        lambda m: m.graph.initializer.add(
            name="s", data_type=TensorProto.FLOAT, dims=[1], float_data=[float("nan")]
        ),
        "tensor 's' contains NaN; train the policy again",
    ),
    "metadata": (
        lambda m: m.metadata_props.add(key="k", value="v" * 70_000),
        "metadata_props has 70,0.. bytes; the limit is 65,536; shorten it",
    ),
    "old opset": (
        lambda m: setattr(m.opset_import[0], "version", 9),
        "the operator sets are '' version 9; allowed: ONNX's own, version 13 to 23; export with",
    ),
    "no opset": (lambda m: m.ClearField("opset_import"), "the operator sets are none; allowed:"),
    "two opsets": (
        lambda m: m.opset_import.add(domain="ai.onnx", version=14),
        "the operator sets are '' version 20, 'ai.onnx' version 14; allowed:",
    ),
    "domain of a node": (
        lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"),
        "node 0 is 'Gemm' of the domain 'com.microsoft'; allowed: ONNX's own operators",
    ),
    "many inputs of a node": (
        lambda m: m.graph.node[0].input.extend(["x"] * 65),
        "node 0 has more than 64 inputs, outputs or attributes; split it",
    ),
    "sequence": (
        lambda m: m.graph.value_info.add(name="v").type.sequence_type.SetInParent(),
        "'v' is not a tensor; export without sequences",
    ),
    "reference to a function's attribute": (
        lambda m: m.graph.node[0].attribute.add(name="alpha", ref_attr_name="a"),
        "an attribute of node 0 has 'ref_attr_name'; allowed:",
    ),
    "constant of text": (
        lambda m: m.graph.node.add(op_type="Constant", output=["c"]).attribute.append(
            helper.make_attribute("value_string", "text")
        ),
        "node 3 makes a tensor of another type; allowed: FLOAT, DOUBLE, INT32, INT64, BOOL; "
        "use these",
    ),
    "cast to text": (
        lambda m: m.graph.node.append(helper.make_node("Cast", ["x"], ["c"], to=8)),
        "node 3 makes a tensor of another type; allowed: FLOAT, DOUBLE, INT32, INT64, BOOL; "
        "use these",
    ),
    "external data in a node": (
        lambda m: m.graph.node.add(op_type="Constant", output=["c"]).attribute.append(
            helper.make_attribute(
                "value",
                TensorProto(name="t", data_type=1, data_location=TensorProto.EXTERNAL),
            )
        ),
        "tensor 't' is in another file; allowed: one file",
    ),
    "name of control characters": (
        lambda m: setattr(m.graph.node[0], "op_type", "\x1b[31m\u202e" + "A" * 100),
        r"node 0 is the operator '\?\[31m\?A{54}\.\.\.'; allowed:",
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_not_on_the_list_is_refused(name):
    change, message = FIELDS[name]
    assert re.search(message, refusal(changed(models.box_policy(), change)))


def test_fields_that_onnx_does_not_define_are_refused():
    unknown = b"\xfa\x3f\x03abc"  # field 1023
    assert re.search("fields that ONNX does not define", refusal(models.box_policy() + unknown))


@pytest.mark.parametrize(
    "empty_message", [b"\x3a\x02\x0a\x00", b"\x3a\x02\x2a\x00", b"\x3a\x04\x0a\x02\x2a\x00"]
)
def test_millions_of_empty_messages_are_refused_before_parsing(empty_message):
    message = refusal(empty_message * 800_000)
    assert message.startswith("the file is malformed: more than 50,000 parts")


def test_text_that_is_not_utf8_is_refused():
    content = models.box_policy()
    assert re.search(
        "the file is malformed: not an ONNX message: the text at byte .* is not UTF-8; submit",
        refusal(content.replace(b"action", b"act\xff\xff\xff")),
    )


def test_infinite_bounds_are_accepted():
    def clip(found):
        found.graph.initializer.add(
            name="bound", data_type=TensorProto.FLOAT, float_data=[float("inf")]
        )

    check_graph(changed(models.box_policy(), clip), OBSERVATIONS, ACTIONS)
