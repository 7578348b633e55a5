"""Policy files with what does not belong in one, each with its refusal.

A refusal that ends in "..." is its beginning.
"""

import numpy as np
from onnx import TensorProto, helper

from leaderboard.policy_files.onnx_rules import OPERATORS
from leaderboard.policy_files.policy_refused import listed
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import changed

ALLOWED = f"; allowed: {listed(OPERATORS)}; build the policy from these"
TYPES = "FLOAT, DOUBLE, INT32, INT64, BOOL"
MALFORMED = "the file is malformed: "
LONG = "x" * 70_000


def box(change):
    """A good policy with a change."""
    return changed(models.box_policy(), change)


def tensor(**fields):
    """A good policy with one more tensor."""
    return box(lambda found: found.graph.initializer.add(name="s", **fields))


def with_function(found):
    function = found.functions.add(name="f", domain="evil")
    function.node.add(op_type="Loop")


def convolution(**attributes):
    """A policy that adds the largest number of a convolution of the observation as an image."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["image"]),
        helper.make_node("Conv", ["image", "kernel"], ["filtered"], **attributes),
        helper.make_node("ReduceMax", ["filtered"], ["evil"], keepdims=0),
    ]
    constants = {"shape": np.array([1, 1, 2, 2]), "kernel": np.ones((1, 1, 2, 2), np.float32)}
    return models.spoiled(nodes, constants)


NO_ONNX = {
    "garbage": (b"\xde\xad\xbe\xef" * 100, f"{MALFORMED}..."),
    "text": (b"<html>404</html>", f"{MALFORMED}..."),
    "empty": (b"", f"{MALFORMED}it has no graph; submit an ONNX file"),
    "truncated": (
        models.box_policy()[:-20],
        f"{MALFORMED}not an ONNX message: it ends within a field at byte ...",
    ),
    "pickle": (models.pickled(), f"{MALFORMED}..."),
    "zip": (b"PK\x03\x04" + bytes(100), f"{MALFORMED}..."),
    "5 MB and one byte": (
        bytes(5 * 1024 * 1024 + 1),
        "the file has 5,242,881 bytes; the limit is 5,242,880; submit a smaller network",
    ),
    "two files after each other": (
        models.box_policy() * 2,
        f"{MALFORMED}'ir_version' is given twice; submit an ONNX file",
    ),
    "millions of empty nodes": (
        b"\x3a\x80\xa4\xe8\x03" + b"\x0a\x00" * 4_000_000,
        "the file has 8,000,005 bytes; the limit is 5,242,880; submit a smaller network",
    ),
    "a million empty nodes": (
        b"\x3a\x80\x89\x7a" + b"\x0a\x00" * 1_000_000,
        f"{MALFORMED}more than 50,000 parts, or more than 20 levels; submit an ONNX file",
    ),
    "two million empty graphs": (
        b"\x3a\x00" * 2_000_000,
        f"{MALFORMED}'graph' is given twice; submit an ONNX file",
    ),
    "text that is not UTF-8": (
        models.box_policy().replace(b"action", b"act\xff\xff\xff"),
        f"{MALFORMED}not an ONNX message: the text at byte ...",
    ),
    "two comments, of which only one counts": (
        models.box_policy() + b"\x32\x01a\x32\x01b",
        f"{MALFORMED}'doc_string' is given twice; submit an ONNX file",
    ),
    "unknown field": (
        models.box_policy() + b"\xfa\x3f\x03abc",  # field 1023
        "the file has fields that ONNX does not define; allowed: plain ONNX; export it again",
    ),
}
OPERATORS_AND_SIZES = {
    **{
        f"external data, {kind}": (
            models.external_data(location),
            "tensor 'evil' is in another file; allowed: one file with all numbers in it; export "
            "with external_data=False",
        )
        for kind, location in [
            ("beside it", "secret.bin"),
            ("above it", "../att/x"),
            ("absolute", "/etc/passwd"),
        ]
    },
    "constant of 80 GB": (
        models.constant_of_shape(),
        f"node 0 is the operator 'ConstantOfShape'{ALLOWED}",
    ),
    "expand to 80 GB": (models.expand(), f"node 1 is the operator 'Expand'{ALLOWED}"),
    "loop": (models.endless_loop(), f"node 0 is the operator 'Loop'{ALLOWED}"),
    "custom operator": (
        models.custom_domain(),
        "the operator sets are '' version 20, 'evil.example' version 1; allowed: ONNX's own, "
        "version 13 to 23; export with one of these opsets and remove other imports",
    ),
    "contributed operator": (
        models.contributed_operator(),
        "the operator sets are '' version 20, 'com.microsoft' version 1; allowed: ONNX's own, ...",
    ),
    "operators for training": (
        box(lambda m: m.opset_import.add(domain="ai.onnx.preview.training", version=1)),
        "the operator sets are '' version 20, 'ai.onnx.preview.training' version 1; allowed: ...",
    ),
    "lying dimensions": (
        models.lying_dimensions(),
        "tensor 'evil' declares 1,152,921,504,606,846,976 numbers but holds a different number; "
        "export it again",
    ),
    "20,000 nodes": (
        models.chain(20_000),
        f"{MALFORMED}more than 50,000 parts, or more than 20 levels; submit an ONNX file",
    ),
    "513 nodes": (
        models.chain(513),
        "the graph has 513 nodes; the limit is 512; submit a smaller network",
    ),
    "subgraph in an attribute": (
        models.with_subgraph(),
        "an attribute of node 0 has 'g'; allowed: doc_string, f, floats, i, ints, name, s, t, ...",
    ),
    "old opset": (
        box(lambda m: setattr(m.opset_import[0], "version", 9)),
        "the operator sets are '' version 9; allowed: ONNX's own, version 13 to 23; export with "
        "one of these opsets and remove other imports",
    ),
    "no opset": (
        box(lambda m: m.ClearField("opset_import")),
        "the operator sets are none; allowed: ...",
    ),
    "two opsets": (
        box(lambda m: m.opset_import.add(domain="ai.onnx", version=14)),
        "the operator sets are '' version 20, 'ai.onnx' version 14; allowed: ...",
    ),
    "domain of a node": (
        box(lambda m: setattr(m.graph.node[0], "domain", "com.microsoft")),
        "node 0 is 'Gemm' of the domain 'com.microsoft'; allowed: ONNX's own operators; export "
        "without custom operators",
    ),
    "many inputs of a node": (
        box(lambda m: m.graph.node[0].input.extend(["x"] * 65)),
        "node 0 has more than 64 inputs, outputs or attributes; split it",
    ),
    "name of control characters": (
        box(lambda m: setattr(m.graph.node[0], "op_type", "\x1b[31m\u202e" + "A" * 100)),
        f"node 0 is the operator '?[31m?{'A' * 54}...'{ALLOWED}",
    ),
    "constant of text": (
        models.spoiled([helper.make_node("Constant", [], ["evil"], value_string="text")]),
        "node 0, Constant, has the attribute 'value_string'; allowed: value, value_float, "
        "value_floats, value_int, value_ints; remove it",
    ),
    "cast to text": (
        models.spoiled([helper.make_node("Cast", ["x"], ["evil"], to=TensorProto.STRING)]),
        f"node 0, Cast, has 'to' = 8; allowed: {TYPES}; export it again",
    ),
    **{
        f"convolution with {name} {value}": (
            convolution(**{name: value}),
            f"node 1, Conv, has '{name}' = {said}; allowed: {allowed} to 1,024; export it again",
        )
        for name, value, said, allowed in [
            ("pads", [0, 0, 100_000, 0], 100_000, 0),
            ("pads", [-1, 0, 0, 0], -1, 0),
            ("dilations", [2**62, 1], 2**62, 1),
            ("strides", [1, -(2**63)], -(2**63), 1),
            ("strides", [0, 1], 0, 1),
            ("kernel_shape", [1025, 1], 1025, 1),
            ("group", -1, -1, 1),
        ]
    },
}
FIELDS = {
    "functions": (
        box(with_function),
        "the model has 'functions'; allowed: doc_string, domain, ...",
    ),
    "training": (
        box(lambda m: m.training_info.add()),
        "the model has 'training_info'; allowed: doc_string, domain, graph, ir_version, ...",
    ),
    "sparse": (
        box(lambda m: m.graph.sparse_initializer.add()),
        "the graph has 'sparse_initializer'; allowed: doc_string, initializer, input, ...",
    ),
    "quantization": (
        box(lambda m: m.graph.quantization_annotation.add()),
        "the graph has 'quantization_annotation'; allowed: doc_string, initializer, input, ...",
    ),
    "overload of a node": (
        box(lambda m: setattr(m.graph.node[0], "overload", "mine")),
        "node 0 has 'overload'; allowed: attribute, doc_string, domain, input, ...",
    ),
    "reference to a function's attribute": (
        box(lambda m: m.graph.node[0].attribute.add(name="alpha", ref_attr_name="a")),
        "an attribute of node 0 has 'ref_attr_name'; allowed: doc_string, f, floats, i, ints, ...",
    ),
}
TENSORS = {
    "strings": (
        tensor(data_type=TensorProto.STRING, dims=[1], string_data=[b"a"]),
        "tensor 's' has 'string_data'; allowed: ...",
    ),
    "string type": (
        tensor(data_type=TensorProto.STRING, dims=[0]),
        f"tensor 's' has the element type STRING; allowed: {TYPES}; convert it",
    ),
    "unknown type": (
        tensor(data_type=999, dims=[0]),
        "tensor 's' has the element type 999, which ONNX does not define; allowed: "
        f"{TYPES}; convert it",
    ),
    "segment": (
        box(lambda m: m.graph.initializer[0].segment.SetInParent()),
        "tensor 'w0' has 'segment'; allowed: ...",
    ),
    "small on disk, large in memory": (
        tensor(data_type=TensorProto.INT64, dims=[700_000], int64_data=[0] * 700_000),
        "the tensors have more than 5,242,880 bytes; submit a smaller network",
    ),
    "two kinds of data": (
        box(lambda m: m.graph.initializer[0].float_data.append(1.0)),
        "tensor 'w0' holds float_data, raw_data; allowed: raw_data or float_data; keep one",
    ),
    "data of another type": (
        tensor(data_type=TensorProto.FLOAT, dims=[1], int64_data=[1]),
        "tensor 's' holds int64_data; allowed: raw_data or float_data; keep one",
    ),
    "half a number": (
        tensor(data_type=TensorProto.FLOAT, dims=[1], raw_data=b"123"),
        "tensor 's' declares 1 numbers but holds a different number; export it again",
    ),
    "negative dimension": (
        tensor(data_type=TensorProto.FLOAT, dims=[-1]),
        "tensor 's' has an impossible shape; allowed: up to 8 sizes >= 0; export it again",
    ),
    "nine dimensions": (
        tensor(data_type=TensorProto.FLOAT, dims=[0] * 9),
        "tensor 's' has an impossible shape; allowed: up to 8 sizes >= 0; export it again",
    ),
    "NaN": (
        tensor(data_type=TensorProto.FLOAT, dims=[1], float_data=[float("nan")]),
        "tensor 's' contains NaN; train the policy again",
    ),
    "external data in a node": (
        box(
            lambda m: m.graph.node.add(op_type="Constant", output=["c"]).attribute.append(
                helper.make_attribute(
                    "value", TensorProto(name="t", data_type=1, data_location=TensorProto.EXTERNAL)
                )
            )
        ),
        "tensor 't' is in another file; allowed: one file with all numbers in it; export with "
        "external_data=False",
    ),
}
TOO_LONG = "names, doc_string and metadata_props have 70,..."
WHERE_TEXT_FITS = {
    "metadata of the model": lambda m: m.metadata_props.add(key="k", value=LONG),
    "key of metadata": lambda m: m.metadata_props.add(key=LONG, value="v"),
    "metadata of the graph": lambda m: m.graph.metadata_props.add(key="k", value=LONG),
    "metadata of a node": lambda m: m.graph.node[1].metadata_props.add(key="k", value=LONG),
    "metadata of a tensor": lambda m: m.graph.initializer[0].metadata_props.add(
        key="k", value=LONG
    ),
    "metadata of a value": lambda m: m.graph.value_info.add(name="v").metadata_props.add(
        value=LONG
    ),
    "comment of the model": lambda m: setattr(m, "doc_string", LONG),
    "comment of the graph": lambda m: setattr(m.graph, "doc_string", LONG),
    "comment of a node": lambda m: setattr(m.graph.node[0], "doc_string", LONG),
    "comment of an attribute": lambda m: m.graph.node[0].attribute.add(
        name="alpha", type=1, f=1.0, doc_string=LONG
    ),
    "comment of a tensor": lambda m: setattr(m.graph.initializer[0], "doc_string", LONG),
    "comment of the input": lambda m: setattr(m.graph.input[0], "doc_string", LONG),
    "producer": lambda m: setattr(m, "producer_name", LONG),
    "version of the producer": lambda m: setattr(m, "producer_version", LONG),
    "domain": lambda m: setattr(m, "domain", LONG),
    "name of the graph": lambda m: setattr(m.graph, "name", LONG),
    "name of a node": lambda m: setattr(m.graph.node[0], "name", LONG),
    "name of a value": lambda m: m.graph.value_info.add(name=LONG),
    "name of a tensor": lambda m: m.graph.initializer.add(name=LONG, data_type=1, dims=[0]),
    "name of a dimension": lambda m: setattr(
        m.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", LONG
    ),
    "meaning of a type": lambda m: setattr(m.graph.input[0].type, "denotation", LONG),
    "a little in many places": lambda m: [
        m.graph.value_info.add(name=f"v{i}", doc_string="x" * 69) for i in range(960)
    ],
}
TEXT = {f"text: {place}": (box(change), TOO_LONG) for place, change in WHERE_TEXT_FITS.items()}
CONTENT = {**NO_ONNX, **OPERATORS_AND_SIZES, **FIELDS, **TENSORS, **TEXT}
