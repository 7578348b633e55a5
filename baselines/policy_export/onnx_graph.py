"""An ONNX graph put together node by node, for networks of linear layers and activations."""

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
        self, operator: str, *constants: np.ndarray, output: str = "", **attributes: int
    ) -> None:
        """Append operator(current, *constants)."""
        self.join(operator, self.current, *map(self.constant, constants), output, **attributes)

    def join(self, operator: str, *names: str, **attributes: Any) -> None:
        """Append an operator; the last name is its output, one is made up if it is empty."""
        *inputs, output = names
        self.current = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [self.current], **attributes))

    def constant(self, array: np.ndarray) -> str:
        """Return the name of a new constant."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def layer(self, layer: nn.Module) -> None:
        """Append a linear layer or one of `ACTIVATIONS`."""
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().cpu(), layer.bias.detach().cpu()
            self.add("Gemm", weight.numpy(), bias.numpy(), transB=1)
        else:
            self.add(ACTIVATIONS[type(layer)])
