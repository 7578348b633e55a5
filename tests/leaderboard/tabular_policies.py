"""Policies of tabular environments as ONNX files, with the tables they stand for."""

import hashlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from leaderboard.submissions.metadata import Metadata
from leaderboard.submissions.submission import Submission, SubmittedCurve


def table_policy(probabilities):
    """Return the ONNX file of a policy (S, A): logits = log(p + 1e-30) of the one-hot state."""
    logits = np.log(np.asarray(probabilities) + 1e-30).astype(np.float32)
    states, actions = logits.shape
    constant = numpy_helper.from_array(logits, "table")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["observation", "table"], ["logits"])],
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", states])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", actions])],
        [constant],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def random_tables(states, actions, count, seed=0):
    """Return policies (count, S, A), each row drawn uniformly from the simplex."""
    return np.random.default_rng(seed).dirichlet(np.ones(actions), size=(count, states))


def fields_for(env, policies, **changes):
    """Return metadata as JSON data."""
    return {
        "env": env,
        "algorithm": "table",
        "authors": ["A. Author"],
        "training_seeds": list(range(len(policies))),
        "training_steps": 1000,
        "stochastic": True,
        "consent": True,
        "sha256": [hashlib.sha256(content).hexdigest() for content in policies],
        **changes,
    }


def submission_for(env, policies, curves=(), **changes):
    """Return a submission of policy files."""
    metadata = Metadata.model_validate(fields_for(env, policies, **changes))
    return Submission(metadata, tuple(policies), tuple(curves))


def a_curve():
    """Return a learning curve of three points."""
    return SubmittedCurve((1.0, 2.0, 3.0), (0.0, 0.5, 0.75), ((0.25, 0.5, 0.125),))


def fails_between(low, high):
    """Return a policy of two numbers, Box action (1,): 0, or 0/0 if low < x_0 < high."""
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["nothing"]),
        helper.make_node("Div", ["nothing", "nothing"], ["undefined"]),
        helper.make_node("Where", ["inside", "undefined", "nothing"], ["action"]),
    ]
    return _windowed(low, high, nodes, {})


def hangs_between(low, high, size=1000, products=400):
    """Return the same that, instead of 0/0, multiplies matrices for minutes."""
    constants = {
        "one": np.array([1], np.int64),
        "start": np.array([0], np.int64),
        "many": np.array([size - 1], np.int64),
        "matrix": np.eye(size, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["inside"], ["flag"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["flag", "one"], ["number"]),
        helper.make_node("Mul", ["number", "many"], ["extra"]),
        helper.make_node("Add", ["extra", "one"], ["rows"]),
        helper.make_node("Slice", ["matrix", "start", "rows"], ["product_0"]),
        *(
            helper.make_node("MatMul", [f"product_{n}", "matrix"], [f"product_{n + 1}"])
            for n in range(products)
        ),
        helper.make_node("ReduceMax", [f"product_{products}"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["x", "largest"], ["action"]),
    ]
    return _windowed(low, high, nodes, constants)


def _windowed(low, high, nodes, constants):
    """Return a policy file whose nodes may use x_0 as `x` and low < x_0 < high as `inside`."""
    constants = constants | {
        "low": np.array([low], np.float32),
        "high": np.array([high], np.float32),
        "zero": np.zeros((1, 1), np.float32),
        "first": np.array([0], np.int64),
    }
    window = [
        helper.make_node("Gather", ["observation", "first"], ["x"], axis=1),
        helper.make_node("Greater", ["x", "low"], ["above"]),
        helper.make_node("Less", ["x", "high"], ["below"]),
        helper.make_node("And", ["above", "below"], ["inside"]),
    ]
    graph = helper.make_graph(
        [*window, *nodes],
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
