"""Policy files that try to remember, or to read what was never written, each with its refusal.

A refusal that ends in "..." is its beginning.
"""

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, helper

from leaderboard.policy_files.onnx_rules import OPERATORS
from leaderboard.policy_files.policy_refused import listed
from tests.leaderboard import onnx_models as models
from tests.leaderboard.onnx_models import changed, spoiled

ALLOWED = f"; allowed: {listed(OPERATORS)}; build the policy from these"
ONE_OUTPUT = "; allowed: 1; a policy has no memory, so export it in evaluation mode"
TRAINING = "; allowed: 0, since a policy has no memory: evaluation mode; export it again"
HALVES = {"half": np.full((1, 2), 0.5, np.float32)}
NORMALIZATION = {name: np.full(2, value, np.float32) for name, value in
                 [("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("variance", 1.0)]}  # fmt: skip


def training(opset, outputs=("evil",), **attributes):
    """A policy whose batch normalization of two observed numbers is in training mode."""
    inputs = ["plain", *NORMALIZATION]
    node = helper.make_node("BatchNormalization", inputs, list(outputs), **attributes)
    found = ModelProto.FromString(spoiled([], NORMALIZATION, opsets=(("", opset),)))
    found.graph.node.insert(1, node)
    if len(outputs) > 1 and outputs[1]:  # what it remembers is the action
        found.graph.node[2].input[1] = outputs[1]
    return found.SerializeToString()


def counting(table, rows):
    """A policy of logits (S, 2) that swaps its actions once it was asked this often.

    The running mean of ones is 1 - 0.5^(asked / rows), so 0.5 after this many rows.
    """
    nodes = [
        helper.make_node("MatMul", ["x", "table"], ["first"]),
        helper.make_node("Sub", ["first", "first"], ["zeros"]),
        helper.make_node("Add", ["zeros", "ones"], ["same"]),
        helper.make_node(
            "BatchNormalization",
            ["same", "scale", "shift", "mean", "variance"],
            ["normal", "count", "spread"],
            training_mode=1,
            momentum=0.5 ** (1 / rows),
        ),
        helper.make_node("Greater", ["count", "half"], ["late"]),
        helper.make_node("Neg", ["first"], ["other"]),
        helper.make_node("Where", ["late", "other", "first"], ["logits"]),
    ]
    ones = np.ones(2, np.float32)
    constants = {**NORMALIZATION, "ones": ones, "half": 0.5 * ones, "table": table}
    outputs = {"logits": (TensorProto.FLOAT, ["batch", 2])}
    return models.model(nodes, constants, outputs, len(table)).SerializeToString()


def undefined_cast(opset=20, saturate=2):
    """A policy that casts with an attribute that ONNX Runtime does not check.

    The cast writes nothing, so `memory` is what `kept` was for the observation before.
    """
    nodes = [
        helper.make_node("Cast", ["x"], ["memory"], to=TensorProto.INT32, saturate=saturate),
        helper.make_node("Cast", ["memory"], ["read"], to=TensorProto.FLOAT),
        helper.make_node("Abs", ["x"], ["kept"]),
        helper.make_node("Add", ["read", "kept"], ["both"]),
        helper.make_node("MatMul", ["both", "first_two"], ["evil"]),
    ]
    return spoiled(nodes, opsets=(("", opset),))


def undefined_product():
    """A policy with a product of no numbers, to which ONNX Runtime writes nothing."""
    nodes = [
        helper.make_node("MatMul", ["column", "empty"], ["memory"]),
        helper.make_node("Reshape", ["memory", "shape"], ["evil"]),
    ]
    constants = {
        "column": np.zeros((2, 0), np.float32),
        "empty": np.zeros(0, np.float32),
        "shape": np.array([1, 2]),
    }
    return spoiled(nodes, constants)


def one(operator, inputs=("x",), outputs=("evil",), opset=20, constants=None, **attributes):
    """A policy with one more node."""
    node = helper.make_node(operator, list(inputs), list(outputs), **attributes)
    return spoiled([node], constants, opsets=(("", opset),))


def normalization(change):
    """The policy in evaluation mode, with a change to the normalization."""
    return changed(training(20), lambda found: change(found.graph.node[1]))


def graph(change):
    """A good policy with a change to its graph."""
    return changed(models.box_policy(), lambda found: change(found.graph))


IN_TRAINING_MODE = {
    **{
        f"normalization in training mode, opset {opset}": (
            training(opset, ("evil", "running_mean", "running_variance"), training_mode=1),
            f"node 1, BatchNormalization, has 3 outputs{ONE_OUTPUT}",
        )
        for opset in range(14, 24)
    },
    "normalization in training mode, opset 13": (
        training(13, ("evil", "mean_out", "variance_out", "saved_mean", "saved_variance")),
        f"node 1, BatchNormalization, has 5 outputs{ONE_OUTPUT}",
    ),
    "normalization with outputs left out, opset 13": (
        training(13, ("evil", "", "", "", "")),
        f"node 1, BatchNormalization, has 5 outputs{ONE_OUTPUT}",
    ),
    "normalization with its trained mean": (
        training(15, ("evil", "running_mean")),
        f"node 1, BatchNormalization, has 2 outputs{ONE_OUTPUT}",
    ),
    **{
        f"training_mode {mode}, opset {opset}": (
            training(opset, training_mode=mode),
            f"node 1, BatchNormalization, has 'training_mode' = {mode}{TRAINING}",
        )
        for mode, opset in [(1, 14), (1, 15), (1, 23), (2, 20), (-1, 20), (2**63 - 1, 20)]
    },
    "training_mode at an opset without it": (
        training(13, training_mode=1),
        "node 1, BatchNormalization, has the attribute 'training_mode'; allowed: epsilon, "
        "momentum; remove it",
    ),
    "training_mode as a number with a point": (
        training(20, training_mode=1.0),
        "node 1, BatchNormalization, has 'training_mode' of a wrong type; allowed: INT; export it "
        "again",
    ),
    "training_mode twice": (
        normalization(
            lambda node: node.attribute.extend(
                [helper.make_attribute("training_mode", mode) for mode in (0, 1)]
            )
        ),
        "node 1, BatchNormalization, has an attribute twice; allowed: once; keep one",
    ),
    "training_mode with two values": (
        normalization(
            lambda node: node.attribute.add(
                name="training_mode", type=AttributeProto.INT, i=0, f=1.0
            )
        ),
        "node 1, BatchNormalization, has 'training_mode' with f, i; allowed: i; keep one",
    ),
    "training_mode from a function": (
        normalization(
            lambda node: node.attribute.add(
                name="training_mode", type=AttributeProto.INT, ref_attr_name="mode"
            )
        ),
        "an attribute of node 1 has 'ref_attr_name'; allowed: doc_string, f, floats, i, ints, ...",
    ),
    "dropout in training mode": (
        one(
            "Dropout", ["half", "ratio", "true"], seed=1,
            constants={**HALVES, "ratio": np.array(0.5, np.float32), "true": np.array(True)},
        ),
        f"node 0 is the operator 'Dropout'{ALLOWED}",
    ),
}  # fmt: skip
RANDOM = {
    name: (content, f"node 0 is the operator '{name}'{ALLOWED}")
    for name, content in {
        "RandomNormal": one("RandomNormal", [], shape=[1, 2], seed=1.0),
        "RandomUniform": one("RandomUniform", [], shape=[1, 2]),
        "RandomNormalLike": one("RandomNormalLike", ["half"], constants=HALVES, seed=1.0),
        "RandomUniformLike": one("RandomUniformLike", ["half"], constants=HALVES, seed=1.0),
        "Bernoulli": one("Bernoulli", ["half"], constants=HALVES),
        "Multinomial": one("Multinomial", ["x"], sample_size=2),
    }.items()
}
STATEFUL_OPERATORS = {
    name: (content, f"node 0 is the operator '{name}'{ALLOWED}")
    for name, content in {
        "LSTM": one("LSTM", ["x", "x", "x"], ["", "evil"], hidden_size=2),
        "GRU": one("GRU", ["x", "x", "x"], ["", "evil"], hidden_size=2),
        "RNN": one("RNN", ["x", "x", "x"], ["", "evil"], hidden_size=2),
        "Scan": one("Scan", ["x"]),
        "If": one("If", ["x"]),
        "SequenceEmpty": one("SequenceEmpty", []),
        "SequenceConstruct": one("SequenceConstruct", ["x"]),
        "SequenceInsert": one("SequenceInsert", ["x", "x"]),
        "SequenceAt": one("SequenceAt", ["x", "x"]),
        "ConcatFromSequence": one("ConcatFromSequence", ["x"], axis=0),
        "SplitToSequence": one("SplitToSequence", ["x"]),
        "Optional": one("Optional", ["x"]),
        "OptionalGetElement": one("OptionalGetElement", ["x"]),
        "ScatterElements": one("ScatterElements", ["x", "x", "x"]),
        "ScatterND": one("ScatterND", ["x", "x", "x"]),
        "TensorScatter": one("TensorScatter", ["x", "x"]),
        "MaxUnpool": one("MaxUnpool", ["x", "x"], kernel_shape=[2]),
        "Attention": one("Attention", ["x", "x", "x"], opset=23),
    }.items()
}
UNDEFINED = {
    **{
        f"cast with saturate {saturate}, opset {opset}": (
            undefined_cast(opset, saturate),
            f"node 0, Cast, has 'saturate' = {saturate}; allowed: 1 to 1; export it again",
        )
        for saturate, opset in [(2, 19), (7, 21), (-1, 23), (2**31, 20), (0, 20)]
    },
    "maximum with an input left out": (
        one("Max", ["x", ""]),
        "node 0, Max, leaves out its input 1; allowed: to leave out what is optional; connect it",
    ),
    "sum with an input left out": (
        one("Sum", ["x", "", "x"]),
        "node 0, Sum, leaves out its input 1; allowed: to leave out what is optional; connect it",
    ),
    "too few inputs": (
        one("Gemm", ["x"]), "node 0, Gemm, has 1 inputs; allowed: 2 to 3; export it again"
    ),
    "too many inputs": (
        one("And", ["x", "x", "x"]), "node 0, And, has 3 inputs; allowed: 2; export it again"
    ),
    "no inputs": (
        one("Concat", [], axis=0), "node 0, Concat, has 0 inputs; allowed: 1 to 64; export it again"
    ),
    "another number of parts": (
        one("Split", outputs=["evil", "more"], num_outputs=1),
        "node 0, Split, has 'num_outputs' = 1 and 2 outputs; allowed: the number of its outputs; "
        "export it again",
    ),
    "no parts": (
        one("Split", num_outputs=0),
        "node 0, Split, has 'num_outputs' = 0; allowed: 1 to 64; export it again",
    ),
    "axis out of range": (
        one("Split", axis=2**62, num_outputs=1),
        f"node 0, Split, has 'axis' = {2**62}; allowed: -8 to 8; export it again",
    ),
    "flag out of range": (
        one("ReduceSum", keepdims=-(2**63)),
        f"node 0, ReduceSum, has 'keepdims' = {-(2**63)}; allowed: 0 to 1; export it again",
    ),
    "negative epsilon": (
        one("LayerNormalization", ["x", "x"], epsilon=-1.0),
        "node 0, LayerNormalization, has 'epsilon' = -1.0; allowed: finite numbers >= 0; export "
        "it again",
    ),
    "factor that is no number": (
        one("Elu", alpha=float("nan")),
        "node 0, Elu, has 'alpha' = nan; allowed: finite numbers; export it again",
    ),
    "constant that is no number": (
        one("Constant", [], value_float=float("nan")),
        "node 0, Constant, has 'value_float' = nan; allowed: any numbers but NaN; export it again",
    ),
    "long constant outside tensors": (
        one("Constant", [], value_ints=[1] * 65),
        "node 0, Constant, has 65 numbers in 'value_ints'; the limit is 64; make it a tensor",
    ),
    "unknown approximation": (
        one("Gelu", approximate="fast"),
        "node 0, Gelu, has 'approximate' = fast; allowed: none, tanh; export it again",
    ),
    "unknown attribute": (
        one("Relu", seed=1),
        "node 0, Relu, has the attribute 'seed'; allowed: none; remove it",
    ),
    "attribute of another opset": (
        one("ReduceMax", axes=[1]),
        "node 0, ReduceMax, has the attribute 'axes'; allowed: keepdims, noop_with_empty_axes; "
        "remove it",
    ),
    "operator of a later opset": (
        one("Gelu", opset=13),
        "node 0, Gelu, is not in opset 13; allowed: the operators of the file's opset; export "
        "with opset 20 or later",
    ),
}  # fmt: skip
FURTHER_OUTPUTS = {
    "statistics of a layer's normalization": (
        one("LayerNormalization", ["x", "x"], ["evil", "mean", "deviation"]),
        f"node 0, LayerNormalization, has 3 outputs{ONE_OUTPUT}",
    ),
    "empty second output": (
        one("Identity", outputs=["evil", ""]),
        f"node 0, Identity, has 2 outputs{ONE_OUTPUT}",
    ),
    "no output": (one("Identity", outputs=[]), f"node 0, Identity, has 0 outputs{ONE_OUTPUT}"),
    "output without a name": (
        one("Split", outputs=["evil", ""], num_outputs=2),
        "node 0, Split, has an output without a name; allowed: named ones; name it",
    ),
}
NAMES = {
    "weight that is also a result": (
        graph(lambda g: g.node[0].output.__setitem__(0, "b1")),
        "an output of node 0 is named 'b1' like another value; allowed: a name of its own for "
        "each; rename it",
    ),
    "input that is also a result": (
        graph(lambda g: g.node[0].output.__setitem__(0, "x")),
        "an output of node 0 is named 'x' like another value; allowed: a name of its own for "
        "each; rename it",
    ),
    "input that is also a weight": (
        graph(lambda g: setattr(g.initializer[0], "name", "x")),
        "an initializer is named 'x' like another value; allowed: a name of its own for each; "
        "rename it",
    ),
    "result made twice": (
        graph(lambda g: g.node.add(op_type="Relu", input=["x"], output=["action"])),
        "an output of node 3 is named 'action' like another value; allowed: a name of its own for "
        "each; rename it",
    ),
    "weight given twice": (
        graph(lambda g: g.initializer.add().CopyFrom(g.initializer[0])),
        "an initializer is named 'w0' like another value; allowed: a name of its own for each; "
        "rename it",
    ),
    "weight without a name": (
        graph(lambda g: g.initializer.add(data_type=TensorProto.FLOAT, dims=[0])),
        "an initializer has no name; allowed: a name of its own for each; rename it",
    ),
    "loop between nodes": (
        graph(lambda g: g.node[0].input.__setitem__(0, "h0")),
        "node 0 uses 'h0', which nothing before it makes; allowed: the input, initializers and "
        "outputs of earlier nodes; export it again",
    ),
    "node that uses itself": (
        graph(lambda g: g.node[1].input.__setitem__(0, "h0")),
        "node 1 uses 'h0', which nothing before it makes; allowed: the input, initializers and "
        "outputs of earlier nodes; export it again",
    ),
    "weight as the answer": (
        changed(
            spoiled([], {"action": np.zeros((1, 2), np.float32)}),
            lambda m: m.graph.ClearField("node"),
        ),
        "the output 'action' is not made by a node; allowed: outputs of nodes; add an Identity",
    ),
    "answer of nothing": (
        graph(lambda g: g.node.__delitem__(2)),
        "the output 'action' is not made by a node; allowed: outputs of nodes; add an Identity",
    ),
    "sequence as a value": (
        graph(lambda g: g.value_info.add(name="v").type.sequence_type.SetInParent()),
        "'v' is not a tensor; export without sequences, maps and optional values",
    ),
    "optional as a value": (
        graph(lambda g: g.value_info.add(name="v").type.optional_type.SetInParent()),
        "'v' is not a tensor; export without sequences, maps and optional values",
    ),
    "map as a value": (
        graph(lambda g: g.value_info.add(name="v").type.map_type.SetInParent()),
        "'v' is not a tensor; export without sequences, maps and optional values",
    ),
    "sparse value": (
        graph(lambda g: g.value_info.add(name="v").type.sparse_tensor_type.SetInParent()),
        "'v' is not a tensor; export without sequences, maps and optional values",
    ),
    "sequence as the answer": (
        graph(lambda g: g.output[0].type.sequence_type.SetInParent()),
        "the output 'action' has the element type UNDEFINED; allowed: FLOAT or DOUBLE; cast it",
    ),
    "optional observation": (
        graph(lambda g: g.input[0].type.optional_type.SetInParent()),
        "the input has the element type UNDEFINED; allowed: one float32 input of shape (batch, 4); "
        "cast it",
    ),
}
MEMORY = {
    **IN_TRAINING_MODE,
    **RANDOM,
    **STATEFUL_OPERATORS,
    **UNDEFINED,
    **FURTHER_OUTPUTS,
    **NAMES,
}
REALLY_REMEMBER = [
    *(f"normalization in training mode, opset {opset}" for opset in range(13, 24)),
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "dropout in training mode",
    "cast with saturate 2, opset 19",
    "cast with saturate 7, opset 21",
]  # in ONNX Runtime 1.31: they load, and their answers change
