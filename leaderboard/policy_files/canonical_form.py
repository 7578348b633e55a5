"""A digest of what a policy file computes, whatever its parts are called and however it is stored.

A value of the graph is identified by the operator that makes it, its attributes, and the digests of
the values that go into it, up to the observation and the constants. So names, doc strings,
metadata, the exporter's name, the opset, the order of nodes, and parts that no output depends on
leave no trace. Neither do these: whether a constant is an initializer or a node, how its numbers
are encoded, Identity nodes, attributes that are written out but have their default, and the order
of the operands of operators such as Add.

Equal digests mean the same computation. Different digests mean little: hidden units in another
order, or one weight changed in its last digit, give another digest. So the form also has a sample
of the weights, for files with the same skeleton, which is the computation up to its float
constants. What a policy does is compared by `leaderboard.scores.behavior`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, defs, numpy_helper

from leaderboard.policy_files.onnx_rules import OPSETS
from leaderboard.policy_files.policy_refused import PolicyRefused, shortened

COMMUTATIVE = frozenset(["Add", "And", "Equal", "Max", "Mean", "Min", "Mul", "Or", "Sum"])
_CONSTANT_KINDS: dict[str, Callable[[AttributeProto], np.ndarray]] = {
    "value": lambda attribute: numpy_helper.to_array(attribute.t),
    "value_float": lambda attribute: np.array(attribute.f, np.float32),
    "value_floats": lambda attribute: np.array(attribute.floats, np.float32),
    "value_int": lambda attribute: np.array(attribute.i, np.int64),
    "value_ints": lambda attribute: np.array(attribute.ints, np.int64),
}
WEIGHTS = 256  # of a sample
_Digests = dict[str, bytes]  # of the values of a graph, by name
_ConstantDigest = Callable[[np.ndarray], bytes]


@dataclass(frozen=True)
class CanonicalForm:
    """What a policy file computes."""

    digest: str  # 64 hexadecimal digits
    skeleton: str  # digest of the computation up to the values of its float constants
    weights: np.ndarray  # (WEIGHTS,) float32: a sample of the matrices, all 0 if there are none


def canonical_form(model_bytes: bytes) -> CanonicalForm:
    """Return what an accepted policy file computes.

    Args:
        model_bytes: a file that `gate.check_graph` accepts.

    Raises:
        PolicyRefused: if an output depends on a value that nothing computes.
    """
    graph = _graph_of(model_bytes)
    return CanonicalForm(
        digest=_output_digest(graph, _array_digest),
        skeleton=_output_digest(graph, _shape_digest),
        weights=_sample(graph),
    )


def canonical_digest(model_bytes: bytes) -> str:
    """Return the digest of what an accepted policy file computes, 64 hexadecimal digits.

    Args:
        model_bytes: a file that `gate.check_graph` accepts.

    Raises:
        PolicyRefused: if an output depends on a value that nothing computes.
    """
    return _output_digest(_graph_of(model_bytes), _array_digest)


def _graph_of(model_bytes: bytes) -> GraphProto:
    model = ModelProto()
    try:
        model.ParseFromString(model_bytes)
    except DecodeError:
        raise PolicyRefused(
            "the file is malformed: not an ONNX message; submit an ONNX file"
        ) from None
    return model.graph


def _output_digest(graph: GraphProto, constant_digest: _ConstantDigest) -> str:
    known = _value_digests(graph, constant_digest)
    parts: list[bytes] = []
    for name in sorted(value.name for value in graph.output):
        if name not in known:
            raise PolicyRefused(
                f"the output {shortened(name)!r} depends on a value that nothing computes; export "
                "a complete graph without cycles"
            )
        parts += [name.encode(), known[name]]
    return _joined("policy", parts).hex()


def _value_digests(graph: GraphProto, constant_digest: _ConstantDigest) -> _Digests:
    """Return the digests of all values that can be computed; nodes may be in any order."""
    known: _Digests = {"": b""}  # an optional input that is left out
    known |= {value.name: _joined("observation", []) for value in graph.input}
    for tensor in graph.initializer:
        known[tensor.name] = constant_digest(numpy_helper.to_array(tensor))
    waiting = list(graph.node)
    while waiting:
        later = []
        for node in waiting:
            if all(name in known for name in node.input):
                inputs = [known[name] for name in node.input]
                known |= _output_digests(node, inputs, constant_digest)
            else:
                later.append(node)
        if len(later) == len(waiting):
            break  # a cycle, or an input that nothing computes
        waiting = later
    return known


def _output_digests(
    node: NodeProto, inputs: Sequence[bytes], constant_digest: _ConstantDigest
) -> _Digests:
    if node.op_type == "Identity" and len(inputs) == 1:
        return {name: inputs[0] for name in node.output}
    constant = _constant_of(node)
    if constant is not None:
        return {name: constant_digest(constant) for name in node.output}
    parts = sorted(inputs) if node.op_type in COMMUTATIVE else list(inputs)
    while parts and not parts[-1]:
        parts.pop()  # trailing optional inputs
    found = _joined(node.op_type, [*parts, *_attribute_parts(node)])
    return {
        name: _joined(f"output {place}", [found]) for place, name in enumerate(node.output) if name
    }


def _constant_of(node: NodeProto) -> np.ndarray | None:
    """Return the value of a Constant node, None for any other."""
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return None
    read = _CONSTANT_KINDS.get(node.attribute[0].name)
    return None if read is None else read(node.attribute[0])


def _sample(graph: GraphProto) -> np.ndarray:
    """Return evenly spread entries of the matrices that the outputs depend on, in a fixed order."""
    parts = [
        array.ravel()
        for array in _constants(graph)
        if array.dtype.kind == "f" and array.ndim >= 2 and min(array.shape) >= 2
    ]
    if not parts:
        return np.zeros(WEIGHTS, np.float32)
    entries = np.concatenate(parts)
    chosen = np.linspace(0, len(entries) - 1, WEIGHTS).round().astype(int)
    return entries[chosen].astype(np.float32)


def _constants(graph: GraphProto) -> Iterator[np.ndarray]:
    """Yield the constants that the outputs depend on, in the order of the computation."""
    makers = {name: node for node in graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    waiting = sorted((value.name for value in graph.output), reverse=True)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in tensors:
            yield numpy_helper.to_array(tensors[name])
        elif name in makers:
            constant = _constant_of(makers[name])
            if constant is not None:
                yield constant
            waiting.extend(reversed(makers[name].input))


def _attribute_parts(node: NodeProto) -> list[bytes]:
    """Return the attributes that differ from their default, by name."""
    usual = _defaults(node.op_type)
    found = {attribute.name: _attribute_digest(attribute) for attribute in node.attribute}
    return [
        part
        for name in sorted(found)
        if found[name] != usual.get(name)
        for part in (name.encode(), found[name])
    ]


@cache
def _defaults(operator: str) -> dict[str, bytes]:
    """Return the digests of an operator's default attributes."""
    schema = defs.get_schema(operator, OPSETS[-1], "")
    return {
        name: _attribute_digest(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }


def _attribute_digest(attribute: AttributeProto) -> bytes:
    if attribute.HasField("t"):
        return _tensor_digest(attribute.t)
    numbers = np.array([attribute.f, *attribute.floats], np.float32) + np.float32(0.0)
    whole = np.array([attribute.i, *attribute.ints], np.int64)
    return _joined("attribute", [numbers.tobytes(), whole.tobytes(), attribute.s])


def _tensor_digest(tensor: TensorProto) -> bytes:
    return _array_digest(numpy_helper.to_array(tensor))


def _array_digest(array: np.ndarray) -> bytes:
    numbers = array + array.dtype.type(0) if array.dtype.kind == "f" else array  # -0.0 becomes 0.0
    shape = np.array(array.shape, np.int64)
    return _joined("constant", [array.dtype.str.encode(), shape.tobytes(), numbers.tobytes()])


def _shape_digest(array: np.ndarray) -> bytes:
    """Return the digest of the shape of floats, and of the numbers of anything else."""
    if array.dtype.kind != "f":
        return _array_digest(array)
    shape = np.array(array.shape, np.int64)
    return _joined("shape", [array.dtype.str.encode(), shape.tobytes()])


def _joined(kind: str, parts: Sequence[bytes]) -> bytes:
    """Return a digest of parts, each with its length, so that none runs into the next."""
    found = hashlib.sha256(kind.encode())
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.digest()
