"""An ONNX graph, put together node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import nn

ACTIVATIONS: dict[type[nn.Module], str] = {nn.Tanh: "Tanh", nn.ReLU: "Relu", nn.ELU: "Elu"}


class OnnxGraph:
    """The nodes and constants of a graph, added from input to output."""

    def __init__(self, current: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.current = current  # the name of the last tensor

    def add(
        self, operator: str, *constants: np.ndarray, output: str = "", **attributes: Any
    ) -> None:
        """Append operator(current, *constants)."""
        self.join(operator, self.current, *map(self.constant, constants), output, **attributes)

    def join(self, operator: str, *names: str, **attributes: Any) -> None:
        """Append an operator; the last name is its output, and an empty one gets a new name."""
        *inputs, output = names
        self.current = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [self.current], **attributes))

    def constant(self, array: np.ndarray) -> str:
        """Return the name of a new constant."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def layer(self, layer: nn.Module) -> None:
        """Append a linear layer, a convolution without padding or one of `ACTIVATIONS`."""
        if isinstance(layer, nn.Linear):
            self.add("Gemm", *_weights(layer), transB=1)
        elif isinstance(layer, nn.Conv2d):
            self.add(
                "Conv",
                *_weights(layer),
                kernel_shape=list(layer.kernel_size),
                strides=list(layer.stride),
            )
        elif isinstance(layer, nn.Flatten):
            self.add("Flatten", axis=1)
        else:
            self.add(ACTIVATIONS[type(layer)])


def _weights(layer: nn.Linear | nn.Conv2d) -> list[np.ndarray]:
    assert layer.bias is not None, "all layers of Stable-Baselines3's networks have a bias"
    return [tensor.detach().cpu().numpy() for tensor in (layer.weight, layer.bias)]
