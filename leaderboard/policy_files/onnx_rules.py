"""What a policy file may contain: an allow-list of fields, operators and tensors.

These rules, not onnx.checker, are the security check: the checker accepts tensor data in other
files, loops of 2^62 rounds and tensors of 80 GB. Here the file is only parsed as protobuf. Nothing
is executed and no shapes are inferred; while a policy runs, the sandbox's limit on memory bounds
the size of its tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    StringStringEntryProto,
    TensorProto,
    ValueInfoProto,
)

from leaderboard.policy_files.onnx_tensors import (
    ITEM_SIZES,
    LARGEST_MODEL,
    check_tensors,
    type_names,
)
from leaderboard.policy_files.policy_refused import PolicyRefused, listed, shortened

__all__ = ["LARGEST_MODEL", "OPERATORS", "OPSETS", "PolicyRefused", "check_model"]

MOST_NODES = 512
MOST_TENSORS = 2048
MOST_CONNECTIONS = 64  # inputs, outputs or attributes of one node
LARGEST_METADATA = 64 * 1024  # [bytes]
LARGEST_OF_CONV = 1024  # kernel, stride, dilation, padding or group of a convolution
OPSETS = range(13, 24)
_ARITHMETIC = ["Abs", "Add", "Ceil", "Div", "Exp", "Floor", "Log", "Mul", "Neg", "Pow"]
_MORE_ARITHMETIC = ["Clip", "Cos", "Erf", "Max", "Mean", "Min", "Reciprocal", "Sign", "Sin", "Sqrt"]
_LINEAR = ["BatchNormalization", "Conv", "Gemm", "LayerNormalization", "MatMul", "Sub", "Sum"]
_ACTIVATIONS = ["Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "LogSoftmax", "Mish"]
_MORE_ACTIVATIONS = ["PRelu", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh"]
_COMPARISONS = ["And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"]
_REDUCTIONS = ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"]
_SHAPES = ["Concat", "Flatten", "Gather", "Reshape", "Shape", "Slice", "Split", "Squeeze"]
_OTHERS = ["ArgMax", "ArgMin", "Cast", "Constant", "Identity", "Round", "Transpose", "Unsqueeze"]
_OTHERS += ["Where"]
OPERATORS = frozenset(
    _ARITHMETIC
    + _MORE_ARITHMETIC
    + _LINEAR
    + _ACTIVATIONS
    + _MORE_ACTIVATIONS
    + _COMPARISONS
    + _REDUCTIONS
    + _SHAPES
    + _OTHERS
)
_MODEL_FIELDS = frozenset(["ir_version", "opset_import", "producer_name", "producer_version"])
_MODEL_FIELDS |= {"domain", "model_version", "doc_string", "graph", "metadata_props"}
_GRAPH_FIELDS = frozenset(["node", "name", "initializer", "input", "output", "value_info"])
_GRAPH_FIELDS |= {"doc_string", "metadata_props"}
_NODE_FIELDS = frozenset(["input", "output", "name", "op_type", "domain", "attribute"])
_NODE_FIELDS |= {"doc_string", "metadata_props"}
_ATTRIBUTE_FIELDS = frozenset(["name", "type", "doc_string", "f", "i", "s", "t", "floats", "ints"])
_Message = ModelProto | GraphProto | NodeProto | AttributeProto


def check_model(model: ModelProto) -> None:
    """Check everything except the names and shapes of the input and outputs.

    Raises:
        PolicyRefused: naming the first broken rule.
    """
    _check_no_unknown_fields(model)
    _check_fields(model, _MODEL_FIELDS, "the model")
    _check_opset(model)
    _check_metadata(model.metadata_props)
    graph = model.graph
    _check_fields(graph, _GRAPH_FIELDS, "the graph")
    _check_counts(graph)
    tensors: list[TensorProto] = list(graph.initializer)
    for position, node in enumerate(graph.node):
        tensors += _checked_node(node, f"node {position}")
    check_tensors(tensors)
    for value in graph.value_info:
        _check_tensor_type(value)


def _check_no_unknown_fields(model: ModelProto) -> None:
    """Refuse fields that this version of ONNX does not know."""
    size = model.ByteSize()
    model.DiscardUnknownFields()
    if model.ByteSize() != size:
        raise PolicyRefused(
            "the file has fields that ONNX does not define; allowed: plain ONNX; export it again"
        )


def _check_fields(message: _Message, allowed: frozenset[str], what: str) -> None:
    for field, _ in message.ListFields():
        if field.name not in allowed:
            raise PolicyRefused(
                f"{what} has {field.name!r}; allowed: {listed(allowed)}; export a plain graph "
                "with all numbers in the file"
            )


def _check_opset(model: ModelProto) -> None:
    found = [(entry.domain, entry.version) for entry in model.opset_import]
    if len(found) != 1 or found[0][0] not in ("", "ai.onnx") or found[0][1] not in OPSETS:
        named = ", ".join(
            f"{shortened(domain)!r} version {version}" for domain, version in found[:5]
        )
        raise PolicyRefused(
            f"the operator sets are {named or 'none'}; allowed: ONNX's own, version {OPSETS[0]} "
            f"to {OPSETS[-1]}; export with one of these opsets and remove other imports"
        )


def _check_metadata(entries: Sequence[StringStringEntryProto]) -> None:
    size = sum(entry.ByteSize() for entry in entries)
    if size > LARGEST_METADATA:
        raise PolicyRefused(
            f"metadata_props has {size:,} bytes; the limit is {LARGEST_METADATA:,}; shorten it"
        )


def _check_counts(graph: GraphProto) -> None:
    for name, count, most in (
        ("nodes", len(graph.node), MOST_NODES),
        ("initializers", len(graph.initializer), MOST_TENSORS),
        ("value_info entries", len(graph.value_info), MOST_TENSORS),
    ):
        if count > most:
            raise PolicyRefused(
                f"the graph has {count:,} {name}; the limit is {most:,}; submit a smaller network"
            )


def _checked_node(node: NodeProto, what: str) -> list[TensorProto]:
    """Check a node and return the tensors in its attributes."""
    if node.domain not in ("", "ai.onnx"):
        raise PolicyRefused(
            f"{what} is {shortened(node.op_type)!r} of the domain {shortened(node.domain)!r}; "
            "allowed: ONNX's own operators; export without custom operators"
        )
    if node.op_type not in OPERATORS:
        raise PolicyRefused(
            f"{what} is the operator {shortened(node.op_type)!r}; allowed: "
            f"{listed(OPERATORS)}; build the policy from these"
        )
    _check_fields(node, _NODE_FIELDS, what)
    if max(len(node.input), len(node.output), len(node.attribute)) > MOST_CONNECTIONS:
        raise PolicyRefused(
            f"{what} has more than {MOST_CONNECTIONS} inputs, outputs or attributes; split it"
        )
    for attribute in node.attribute:
        _check_fields(attribute, _ATTRIBUTE_FIELDS, f"an attribute of {what}")
        text = node.op_type == "Constant" and attribute.HasField("s")
        cast = node.op_type == "Cast" and attribute.name == "to"
        if text or (cast and attribute.i not in ITEM_SIZES):
            raise PolicyRefused(
                f"{what} makes a tensor of another type; allowed: "
                f"{type_names(ITEM_SIZES)}; use these"
            )
        sizes = [attribute.i, *attribute.ints]
        if node.op_type == "Conv" and not all(0 <= size <= LARGEST_OF_CONV for size in sizes):
            raise PolicyRefused(
                f"{what} is a Conv whose {shortened(attribute.name)!r} is below 0 or above "
                f"{LARGEST_OF_CONV:,}; submit a smaller kernel, stride, dilation or padding"
            )
    return [attribute.t for attribute in node.attribute if attribute.HasField("t")]


def _check_tensor_type(value: ValueInfoProto) -> None:
    if value.type.WhichOneof("value") not in (None, "tensor_type"):
        raise PolicyRefused(
            f"{shortened(value.name)!r} is not a tensor; export without "
            "sequences, maps and optional values"
        )
