"""Policy files that compute the same as another one, or nearly the same, in another form."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.leaderboard.onnx_models import Network, changed, network_policy


def renamed(content: bytes) -> bytes:
    """Return a policy with other names for everything inside, other comments and another maker."""

    def rename(model: ModelProto) -> None:
        graph = model.graph
        fixed = {value.name for value in graph.output} | {""}
        names = {t.name for t in graph.initializer} | {v.name for v in graph.input}
        names |= {name for node in graph.node for name in node.output}
        new = {name: name if name in fixed else f"other_{name}" for name in names}
        for tensor in [*graph.initializer, *graph.input]:
            tensor.name = new[tensor.name]
            tensor.doc_string = "another comment"
        for node in graph.node:
            inputs, outputs = [new[n] for n in node.input], [new[n] for n in node.output]
            node.ClearField("input")
            node.ClearField("output")
            node.input.extend(inputs)
            node.output.extend(outputs)
            node.name, node.doc_string = f"n_{outputs[0]}", "another comment"
        graph.name = model.producer_name = "other"
        model.doc_string = "five seeds"
        helper.set_model_props(model, {"seed": "17"})

    return changed(content, rename)


def reordered(content: bytes) -> bytes:
    """Return a policy with its nodes and initializers in the opposite order."""

    def reverse(model: ModelProto) -> None:
        for parts in (model.graph.node, model.graph.initializer):
            kept = list(parts)[::-1]
            del parts[:]
            parts.extend(kept)

    return changed(content, reverse)


def with_dead_code(content: bytes) -> bytes:
    """Return a policy with a node and an initializer that no output depends on."""

    def add(model: ModelProto) -> None:
        graph = model.graph
        graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "unused"))
        graph.node.append(helper.make_node("Tanh", ["unused"], ["unused_too"]))

    return changed(content, add)


def with_constant_nodes(content: bytes) -> bytes:
    """Return a policy with nodes instead of initializers, each behind an Identity."""

    def move(model: ModelProto) -> None:
        graph = model.graph
        nodes = []
        for tensor in graph.initializer:
            name, tensor.name = tensor.name, f"{tensor.name}_in"
            nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
            nodes.append(helper.make_node("Identity", [tensor.name], [name]))
        nodes += list(graph.node)
        del graph.initializer[:]
        del graph.node[:]
        graph.node.extend(nodes)

    return changed(content, move)


def with_reordered_nodes(content: bytes) -> bytes:
    """Return a policy with nodes for its numbers, the last number first."""

    def reverse(model: ModelProto) -> None:
        nodes = model.graph.node
        numbers = [node for node in nodes if node.op_type in ("Constant", "Identity")]
        others = [node for node in nodes if node.op_type not in ("Constant", "Identity")]
        pairs = [numbers[i : i + 2] for i in range(0, len(numbers), 2)][::-1]
        kept = [node for pair in pairs for node in pair] + others
        del nodes[:]
        nodes.extend(kept)

    return changed(with_constant_nodes(content), reverse)


def with_listed_numbers(content: bytes) -> bytes:
    """Return a policy whose tensors list their numbers instead of holding bytes."""

    def unpack(model: ModelProto) -> None:
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            listed = helper.make_tensor(tensor.name, TensorProto.FLOAT, array.shape, array.ravel())
            tensor.CopyFrom(listed)

    return changed(content, unpack)


def with_written_defaults(content: bytes) -> bytes:
    """Return a policy whose Gemm nodes write out attributes that have their default, and -0.0."""

    def write(model: ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type == "Gemm":
                node.attribute.extend(
                    [helper.make_attribute("alpha", 1.0), helper.make_attribute("transA", 0)]
                )

    return changed(content, write)


def noisy(content: bytes, size: float, *, relative: bool, seed: int = 0) -> bytes:
    """Return a policy with normally distributed noise on all of its weights."""
    rng = np.random.default_rng(seed)

    def disturb(model: ModelProto) -> None:
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            noise = size * rng.normal(size=array.shape) * (array if relative else 1.0)
            tensor.CopyFrom(
                numpy_helper.from_array((array + noise).astype(array.dtype), tensor.name)
            )

    return changed(content, disturb)


def permuted(network: Network, output: str, seed: int = 0) -> bytes:
    """Return a network of one hidden layer with its hidden units in another order."""
    order = np.random.default_rng(seed).permutation(network.weights[0].shape[1])
    first, second = network.weights
    one, other = network.biases
    return network_policy(Network([first[:, order], second[order]], [one[order], other]), output)
