"""Policy files for tests: good ones with their NumPy counterpart, and bad ones of every kind."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from gymnasium import spaces
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from leaderboard.sandbox.policy_signature import PolicyOutput, PolicySignature

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (4,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)
CHOICES = spaces.Discrete(5)
FORM = PolicySignature(4, (PolicyOutput("action", 2, whole=False),))  # of most models here
ROW = np.array([[0.1, -0.2, 0.3, 0.4]], np.float32)  # an observation
HUGE = 20 * 10**9  # float32 numbers, 80 GB


@dataclass(frozen=True)
class Network:
    """Weights of a tanh network, as ONNX and as NumPy."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]

    @classmethod
    def random(cls, *sizes: int, seed: int = 0) -> "Network":
        rng = np.random.default_rng(seed)
        pairs = list(pairwise(sizes))
        return cls(
            [(rng.normal(size=pair) / np.sqrt(pair[0])).astype(np.float32) for pair in pairs],
            [rng.normal(size=pair[1]).astype(np.float32) * 0.1 for pair in pairs],
        )

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs in double precision."""
        x = x.astype(np.float64)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]

    def nodes(self, output: str) -> tuple[list, dict[str, np.ndarray]]:
        """Return nodes and constants, from `x` to the named output."""
        nodes, constants, name = [], {}, "x"
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            constants |= {f"w{i}": weight, f"b{i}": bias}
            linear = output if i == last else f"z{i}"
            nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [linear]))
            if i < last:
                nodes.append(helper.make_node("Tanh", [linear], [f"h{i}"]))
                name = f"h{i}"
        return nodes, constants


def model(
    nodes: list,
    constants: dict[str, np.ndarray] | None = None,
    outputs: dict[str, tuple[int, list]] | None = None,
    size: int = 4,
    opsets: tuple[tuple[str, int], ...] = (("", 20),),
) -> ModelProto:
    """Return a model from `x` (batch, size) to the float32 `action` (batch, 2) by default."""
    outputs = outputs or {"action": (TensorProto.FLOAT, ["batch", 2])}
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size])],
        [
            helper.make_tensor_value_info(name, kind, shape)
            for name, (kind, shape) in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*entry) for entry in opsets], ir_version=10
    )


def network_policy(network: Network, output: str = "action") -> bytes:
    """Return a network as a policy with one float output."""
    nodes, constants = network.nodes(output)
    shape = ["batch", network.weights[-1].shape[1]]
    outputs = {output: (TensorProto.FLOAT, shape)}
    return model(nodes, constants, outputs, len(network.weights[0])).SerializeToString()


def box_policy(size: int = 4, width: int = 2, hidden: int = 8, seed: int = 0) -> bytes:
    """Return a good policy with Box actions."""
    return network_policy(Network.random(size, hidden, width, seed=seed))


def gaussian_policy(size: int = 4, width: int = 2) -> bytes:
    """Return a good policy with mean, log_std and action."""
    nodes, constants = Network.random(size, 8, width).nodes("mean")
    nodes += [
        helper.make_node("Sub", ["mean", "mean"], ["zeros"]),
        helper.make_node("Add", ["zeros", "log_deviation"], ["log_std"]),
        helper.make_node("Tanh", ["mean"], ["action"]),
    ]
    constants["log_deviation"] = np.full((1, width), -1.0, np.float32)
    outputs = {
        name: (TensorProto.FLOAT, ["batch", width]) for name in ("mean", "log_std", "action")
    }
    return model(nodes, constants, outputs, size).SerializeToString()


def discrete_policy(size: int = 4, choices: int = 5, keepdims: int = 0) -> bytes:
    """Return a good policy with logits and a Discrete action."""
    nodes, constants = Network.random(size, 8, choices).nodes("logits")
    nodes.append(helper.make_node("ArgMax", ["logits"], ["action"], axis=1, keepdims=keepdims))
    outputs = {
        "logits": (TensorProto.FLOAT, ["batch", choices]),
        "action": (TensorProto.INT64, ["batch", 1] if keepdims else ["batch"]),
    }
    return model(nodes, constants, outputs, size).SerializeToString()


def changed(content: bytes, change: Callable[[ModelProto], object]) -> bytes:
    """Return a policy after a change to its message."""
    found = ModelProto.FromString(content)
    change(found)
    return found.SerializeToString()


def spoiled(nodes: list, constants: dict[str, np.ndarray] | None = None, **settings) -> bytes:
    """Return action = x[:, :2] + `evil`, which the nodes compute: a number or (1, 2)."""
    all_nodes = [
        *nodes,
        helper.make_node("MatMul", ["x", "first_two"], ["plain"]),
        helper.make_node("Add", ["plain", "evil"], ["action"]),
    ]
    constants = {"first_two": np.eye(4, 2, dtype=np.float32), **(constants or {})}
    return model(all_nodes, constants, **settings).SerializeToString()


def external_data(location: str) -> bytes:
    """Return a policy whose constant is the content of another file."""
    found = ModelProto.FromString(spoiled([]))
    tensor = found.graph.initializer.add(name="evil", data_type=TensorProto.FLOAT, dims=[1, 2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return found.SerializeToString()


def constant_of_shape(numbers: int = HUGE) -> bytes:
    """Return a policy that makes an 80 GB constant."""
    value = numpy_helper.from_array(np.array([1.0], np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"], value=value),
        helper.make_node("ReduceMax", ["huge"], ["evil"], keepdims=0),
    ]
    return spoiled(nodes, {"shape": np.array([numbers], np.int64)})


def expand(numbers: int = HUGE) -> bytes:
    """Return a policy that widens an observation to 80 GB."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["one"], keepdims=0),
        helper.make_node("Expand", ["one", "shape"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["evil"], keepdims=0),
    ]
    return spoiled(nodes, {"shape": np.array([numbers], np.int64)})


def endless_loop(rounds: int = 2**62) -> bytes:
    """Return a policy that adds one 2^62 times."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Add", ["sum_before", "one"], ["sum_after"]),
        ],
        "body",
        [
            info("round", TensorProto.INT64, []),
            info("go_on", TensorProto.BOOL, []),
            info("sum_before", TensorProto.FLOAT, [1]),
        ],
        [info("still", TensorProto.BOOL, []), info("sum_after", TensorProto.FLOAT, [1])],
    )
    nodes = [helper.make_node("Loop", ["rounds", "true", "one"], ["evil"], body=body)]
    constants = {
        "rounds": np.array(rounds, np.int64),
        "true": np.array(True),
        "one": np.ones(1, np.float32),
    }
    return spoiled(nodes, constants)


def not_a_number() -> bytes:
    """Return a policy whose action is log(-1 - x^2)."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("ReduceSum", ["square"], ["sum"], keepdims=0),
        helper.make_node("Sub", ["minus_one", "sum"], ["negative"]),
        helper.make_node("Log", ["negative"], ["evil"]),
    ]
    return spoiled(nodes, {"minus_one": np.array(-1.0, np.float32)})


def infinite() -> bytes:
    """Return a policy whose action is infinite."""
    return spoiled([helper.make_node("Exp", ["much"], ["evil"])], {"much": np.float32([1000.0])})


def not_finite_beyond(threshold: float) -> bytes:
    """Return a policy whose action is NaN if the first observed number is larger than this."""
    nodes = [
        helper.make_node("MatMul", ["x", "pick"], ["first"]),
        helper.make_node("Greater", ["first", "threshold"], ["beyond"]),
        helper.make_node("Where", ["beyond", "minus_one", "one"], ["sign"]),
        helper.make_node("Sqrt", ["sign"], ["evil"]),
    ]
    constants = {
        "pick": np.eye(4, 1, dtype=np.float32),
        "threshold": np.array(threshold, np.float32),
        "minus_one": np.array(-1.0, np.float32),
        "one": np.array(1.0, np.float32),
    }
    return spoiled(nodes, constants)


def wrong_shape() -> bytes:
    """Return a policy that declares (batch, 2) and returns (batch, 3)."""
    nodes, constants = Network.random(4, 3).nodes("action")
    return model(nodes, constants).SerializeToString()


def custom_domain() -> bytes:
    """Return a policy with an unknown operator."""
    return spoiled(
        [helper.make_node("Mine", ["x"], ["evil"], domain="evil.example")],
        opsets=(("", 20), ("evil.example", 1)),
    )


def contributed_operator() -> bytes:
    """Return a policy with an operator that only ONNX Runtime has, and runs."""
    nodes, constants = Network.random(4, 2).nodes("before")
    nodes.append(helper.make_node("FastGelu", ["before"], ["action"], domain="com.microsoft"))
    return model(nodes, constants, opsets=(("", 20), ("com.microsoft", 1))).SerializeToString()


def random_operator() -> bytes:
    """Return a policy with a random operator."""
    nodes, constants = Network.random(4, 2).nodes("before")
    nodes.append(helper.make_node("RandomNormalLike", ["before"], ["action"]))
    return model(nodes, constants).SerializeToString()


def lying_dimensions() -> bytes:
    """Return a policy with a tensor of 2^60 numbers that holds two."""
    found = ModelProto.FromString(spoiled([]))
    found.graph.initializer.add(
        name="evil", data_type=TensorProto.FLOAT, dims=[2**60], raw_data=bytes(8)
    )
    return found.SerializeToString()


def chain(length: int) -> bytes:
    """Return a policy with this many nodes."""
    nodes = [
        helper.make_node("Identity", ["x" if i == 0 else f"c{i}"], [f"c{i + 1}"])
        for i in range(length - 1)
    ]
    nodes.append(helper.make_node("MatMul", [f"c{length - 1}", "first_two"], ["action"]))
    return model(nodes, {"first_two": np.eye(4, 2, dtype=np.float32)}).SerializeToString()


def concatenation_bomb(doublings: int = 60) -> bytes:
    """Return a policy of allowed operators that doubles a tensor again and again."""
    names = ["x"] + [f"d{i}" for i in range(doublings)]
    nodes = [
        helper.make_node("Concat", [before, before], [after], axis=0)
        for before, after in pairwise(names)
    ]
    return spoiled([*nodes, helper.make_node("ReduceMax", [names[-1]], ["evil"], keepdims=0)])


def broadcast_bomb(size: int = 100_000) -> bytes:
    """Return a policy of allowed operators that adds a column of 400 kB to a row of 400 kB."""
    nodes = [
        helper.make_node("Add", ["column", "row"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["evil"], keepdims=0),
    ]
    constants = {"column": np.ones((size, 1), np.float32), "row": np.ones((1, size), np.float32)}
    return spoiled(nodes, constants)


def product_bomb(size: int = 100_000) -> bytes:
    """Return the same with an outer product."""
    nodes = [
        helper.make_node("MatMul", ["column", "row"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["evil"], keepdims=0),
    ]
    constants = {"column": np.ones((size, 1), np.float32), "row": np.ones((1, size), np.float32)}
    return spoiled(nodes, constants)


def computing_bomb(size: int = 3000, products: int = 400) -> bytes:
    """Return a policy of allowed operators, 24 kB, that multiplies large matrices for minutes."""
    nodes = [helper.make_node("MatMul", ["column", "row"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(products)]
    nodes.append(helper.make_node("ReduceMax", [f"m{products}"], ["evil"], keepdims=0))
    constants = {
        "column": np.full((size, 1), 1e-3, np.float32),
        "row": np.full((1, size), 1e-3, np.float32),
    }
    return spoiled(nodes, constants)


class _RunsCode:
    def __reduce__(self) -> tuple[Callable, tuple]:
        return (partial(print, "unpickled"), ())


def pickled() -> bytes:
    """Return a pickle that prints when it is loaded."""
    return pickle.dumps(_RunsCode())


def with_subgraph() -> bytes:
    """Return a policy with a graph hidden in an attribute of an allowed operator."""
    found = ModelProto.FromString(box_policy())
    attribute = found.graph.node[0].attribute.add(name="body", type=AttributeProto.GRAPH)
    attribute.g.CopyFrom(ModelProto.FromString(endless_loop()).graph)
    return found.SerializeToString()
