"""What a policy file may contain: an allow-list of fields, operators and tensors.

These rules, not onnx.checker, are the security check: the checker accepts tensor data in other
files, loops of 2^62 rounds and tensors of 80 GB. Here the file is only parsed as protobuf. Nothing
is executed and no shapes are inferred; while a policy runs, the sandbox's limit on memory bounds
the size of its tensors.
"""

from __future__ import annotations

from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
)

from leaderboard.policy_files.onnx_tensors import LARGEST_MODEL, check_tensors
from leaderboard.policy_files.operator_rules import OPERATORS, check_node, schema_of
from leaderboard.policy_files.policy_refused import PolicyRefused, listed, shortened

__all__ = ["LARGEST_MODEL", "OPERATORS", "OPSETS", "PolicyRefused", "check_model"]

MOST_NODES = 512
MOST_TENSORS = 2048
MOST_CONNECTIONS = 64  # inputs, outputs or attributes of one node
OPSETS = range(13, 24)
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
    graph = model.graph
    _check_fields(graph, _GRAPH_FIELDS, "the graph")
    _check_counts(graph)
    tensors: list[TensorProto] = list(graph.initializer)
    for position, node in enumerate(graph.node):
        tensors += _checked_node(node, model.opset_import[0].version, f"node {position}")
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


def _checked_node(node: NodeProto, opset: int, what: str) -> list[TensorProto]:
    """Check a node and return the tensors in its attributes."""
    if node.domain not in ("", "ai.onnx"):
        raise PolicyRefused(
            f"{what} is {shortened(node.op_type)!r} of the domain {shortened(node.domain)!r}; "
            "allowed: ONNX's own operators; export without custom operators"
        )
    schema = schema_of(node, opset, what)
    _check_fields(node, _NODE_FIELDS, what)
    if max(len(node.input), len(node.output), len(node.attribute)) > MOST_CONNECTIONS:
        raise PolicyRefused(
            f"{what} has more than {MOST_CONNECTIONS} inputs, outputs or attributes; split it"
        )
    for attribute in node.attribute:
        _check_fields(attribute, _ATTRIBUTE_FIELDS, f"an attribute of {what}")
    check_node(node, schema, what)
    return [attribute.t for attribute in node.attribute if attribute.HasField("t")]


def _check_tensor_type(value: ValueInfoProto) -> None:
    if value.type.WhichOneof("value") not in (None, "tensor_type"):
        raise PolicyRefused(
            f"{shortened(value.name)!r} is not a tensor; export without "
            "sequences, maps and optional values"
        )
