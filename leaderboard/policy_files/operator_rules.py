"""The operators of a policy file, and what their inputs, outputs and attributes may be.

Which inputs and attributes an operator has comes from ONNX's own definitions for the file's opset.
Two things in them are a memory or undefined, and the rest of the table forbids them:

- In training mode, or with outputs beyond the first, BatchNormalization moves its running mean,
  which ONNX Runtime keeps in the weights: equal observations then get different answers.
- ONNX Runtime does not check all attributes and inputs. A Cast whose `saturate` is 2 answers with
  what the memory held before, a Max with a left-out input crashes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from onnx import AttributeProto, NodeProto, defs

from leaderboard.policy_files.onnx_tensors import ITEM_SIZES, MOST_DIMENSIONS, type_names
from leaderboard.policy_files.policy_refused import PolicyRefused, listed, shortened

__all__ = ["ATTRIBUTES", "OPERATORS", "check_node", "schema_of"]

LARGEST_OF_CONV = 1024  # kernel, stride, dilation, padding or group of a convolution
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
MOST_OUTPUTS = {"Split": 64}  # of the others: 1; their further outputs are for training


@dataclass(frozen=True)
class Allowed:
    """The values that an attribute may have; of a list, each of its numbers."""

    said: str
    accepts: Callable[[int | float | str], bool]


def _numbers(low: int, high: int) -> Allowed:
    return Allowed(f"{low:,} to {high:,}", lambda value: low <= float(value) <= high)


def _texts(*texts: str) -> Allowed:
    return Allowed(listed(texts), lambda value: value in texts)


_FLAG = _numbers(0, 1)
_AXIS = _numbers(-MOST_DIMENSIONS, MOST_DIMENSIONS)
_SIZE = _numbers(1, LARGEST_OF_CONV)
_FACTOR = Allowed("finite numbers", lambda value: math.isfinite(float(value)))
_BOUND = Allowed("any numbers but NaN", lambda value: not math.isnan(float(value)))
_TENSOR = Allowed("a tensor", lambda value: True)  # see `onnx_tensors`
ATTRIBUTES: dict[str, Allowed] = {  # their meaning is the same in all operators that have them
    **dict.fromkeys(["keepdims", "select_last_index", "noop_with_empty_axes"], _FLAG),
    **dict.fromkeys(["allowzero", "transA", "transB"], _FLAG),
    **dict.fromkeys(["axis", "axes", "start", "end"], _AXIS),
    **dict.fromkeys(["alpha", "beta", "gamma", "momentum"], _FACTOR),
    **dict.fromkeys(["value_float", "value_floats", "value_int", "value_ints"], _BOUND),
    **dict.fromkeys(["kernel_shape", "strides", "dilations", "group"], _SIZE),
    "pads": _numbers(0, LARGEST_OF_CONV),
    "perm": _numbers(0, MOST_DIMENSIONS - 1),
    "num_outputs": _numbers(1, MOST_OUTPUTS["Split"]),
    "epsilon": Allowed("finite numbers >= 0", lambda value: 0 <= float(value) < math.inf),
    "training_mode": Allowed(
        "0, since a policy has no memory: evaluation mode", lambda value: value == 0
    ),
    "saturate": _numbers(1, 1),  # 0 is for types that are not allowed
    "stash_type": _numbers(1, 1),
    "to": Allowed(type_names(ITEM_SIZES), lambda value: value in ITEM_SIZES),
    "approximate": _texts("none", "tanh"),
    "auto_pad": _texts("NOTSET", "SAME_LOWER", "SAME_UPPER", "VALID"),
    "value": _TENSOR,
}
_LONGEST_LIST = 64
_Type = defs.OpSchema.AttrType
_VALUES: dict[_Type, tuple[int, str]] = {  # the type in a file and the field with the value
    _Type.FLOAT: (AttributeProto.FLOAT, "f"),
    _Type.INT: (AttributeProto.INT, "i"),
    _Type.STRING: (AttributeProto.STRING, "s"),
    _Type.TENSOR: (AttributeProto.TENSOR, "t"),
    _Type.FLOATS: (AttributeProto.FLOATS, "floats"),
    _Type.INTS: (AttributeProto.INTS, "ints"),
}
_SAYING_WHAT = frozenset(["name", "type", "doc_string"])


def schema_of(node: NodeProto, opset: int, what: str) -> defs.OpSchema:
    """Return the definition of a node's operator.

    Args:
        node: of ONNX's own domain.
        opset: of the file.
        what: names the node.

    Raises:
        PolicyRefused: if the operator is not allowed or not in this opset.
    """
    if node.op_type not in OPERATORS:
        raise PolicyRefused(
            f"{what} is the operator {shortened(node.op_type)!r}; allowed: "
            f"{listed(OPERATORS)}; build the policy from these"
        )
    try:
        return defs.get_schema(node.op_type, opset)
    except defs.SchemaError:
        raise PolicyRefused(
            f"{what}, {node.op_type}, is not in opset {opset}; allowed: the operators of the "
            f"file's opset; export with opset {defs.get_schema(node.op_type).since_version} or "
            "later"
        ) from None


def check_node(node: NodeProto, schema: defs.OpSchema, what: str) -> None:
    """Check a node's inputs, outputs and attributes.

    Raises:
        PolicyRefused: naming the first broken rule.
    """
    what = f"{what}, {node.op_type},"
    _check_inputs(node, schema, what)
    _check_outputs(node, what)
    names = [attribute.name for attribute in node.attribute]
    if len(names) != len(set(names)):
        raise PolicyRefused(f"{what} has an attribute twice; allowed: once; keep one")
    for attribute in node.attribute:
        _check_attribute(attribute, schema, what)
        if attribute.name == "num_outputs" and attribute.i != len(node.output):
            raise PolicyRefused(
                f"{what} has 'num_outputs' = {attribute.i} and {len(node.output)} outputs; "
                "allowed: the number of its outputs; export it again"
            )


def _check_inputs(node: NodeProto, schema: defs.OpSchema, what: str) -> None:
    """Refuse too few or many inputs, and left-out ones that the operator needs."""
    count, least, most = len(node.input), schema.min_input, schema.max_input
    if not least <= count <= most:
        allowed = f"{least}" if least == most else f"{least} to {min(most, _LONGEST_LIST)}"
        raise PolicyRefused(f"{what} has {count} inputs; allowed: {allowed}; export it again")
    optional = defs.OpSchema.FormalParameterOption.Optional
    for position, name in enumerate(node.input):
        kind = schema.inputs[min(position, len(schema.inputs) - 1)].option
        if not name and kind != optional:
            raise PolicyRefused(
                f"{what} leaves out its input {position}; allowed: to leave out what is optional; "
                "connect it"
            )


def _check_outputs(node: NodeProto, what: str) -> None:
    """Refuse outputs beyond the first, most of which are an operator's memory."""
    most = MOST_OUTPUTS.get(node.op_type, 1)
    if not 1 <= len(node.output) <= most:
        allowed = "1" if most == 1 else f"1 to {most}"
        raise PolicyRefused(
            f"{what} has {len(node.output)} outputs; allowed: {allowed}; a policy has no memory, "
            "so export it in evaluation mode"
        )
    if "" in node.output:
        raise PolicyRefused(f"{what} has an output without a name; allowed: named ones; name it")


def _check_attribute(attribute: AttributeProto, schema: defs.OpSchema, what: str) -> None:
    name = attribute.name
    declared = schema.attributes.get(name)
    known = listed(each for each in schema.attributes if each in ATTRIBUTES)
    if declared is None or name not in ATTRIBUTES:
        raise PolicyRefused(
            f"{what} has the attribute {shortened(name)!r}; allowed: {known or 'none'}; remove it"
        )
    kind, field = _VALUES[declared.type]
    if attribute.type != kind:
        raise PolicyRefused(
            f"{what} has {name!r} of a wrong type; allowed: "
            f"{AttributeProto.AttributeType.Name(kind)}; export it again"
        )
    filled = [each.name for each, _ in attribute.ListFields() if each.name not in _SAYING_WHAT]
    if [each for each in filled if each != field]:
        raise PolicyRefused(
            f"{what} has {name!r} with {listed(filled)}; allowed: {field}; keep one"
        )
    values = _values(attribute)
    if len(values) > _LONGEST_LIST:
        raise PolicyRefused(
            f"{what} has {len(values):,} numbers in {name!r}; the limit is {_LONGEST_LIST}; make "
            "it a tensor"
        )
    for value in values:
        if not ATTRIBUTES[name].accepts(value):
            raise PolicyRefused(
                f"{what} has {name!r} = {shortened(str(value))}; allowed: "
                f"{ATTRIBUTES[name].said}; export it again"
            )


def _values(attribute: AttributeProto) -> list[int | float | str]:
    """Return the values of an attribute; of a tensor, none."""
    if attribute.type == AttributeProto.STRING:
        return [attribute.s.decode("utf-8", "replace")]
    if attribute.type == AttributeProto.FLOAT:
        return [attribute.f]
    if attribute.type == AttributeProto.INT:
        return [attribute.i]
    return [*attribute.floats, *attribute.ints]
