"""The networks of a policy as an ONNX graph, put together node by node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from gymnasium import spaces
from onnx import TensorProto, helper, numpy_helper
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from agents import ConstrainedAgent
from agents.scpo.residual_policy import ResidualPolicy
from baselines.policy_export.observation_normalization import moments_of
from safe_envs.contract.backup_policy import LinearFeedback

OPSET = 20
IR_VERSION = 10  # of that opset
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
        """Append a linear layer or one of `ACTIVATIONS`."""
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().cpu(), layer.bias.detach().cpu()
            self.add("Gemm", weight.numpy(), bias.numpy(), transB=1)
        else:
            self.add(ACTIVATIONS[type(layer)])


def policy_graph(
    model: ConstrainedAgent, venv: VecEnv, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """Return the policy as an ONNX model.

    Args:
        model: its network has only layers that `OnnxGraph` knows.
        venv: its environments, which hold the normalization of the observations.
        metadata: kept in the model.
    """
    graph = OnnxGraph("observation")
    size = spaces.flatdim(venv.observation_space)
    if isinstance(venv, VecNormalize):
        _standardize(graph, venv)
    if isinstance(model.policy, ResidualPolicy):
        _residual_mean(graph, model.policy)
    else:
        for layer in [*model.policy.mlp_extractor.policy_net, model.policy.action_net]:
            graph.layer(layer)
    space = model.action_space
    if isinstance(space, spaces.Box):
        outputs = _gaussian(graph, model, space)
    else:
        assert isinstance(space, spaces.Discrete)
        graph.join("Identity", graph.current, "logits")
        graph.join("ArgMax", "logits", "action", axis=1, keepdims=0)
        outputs = [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", int(space.n)]),
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
        ]
    given = helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", size])
    built = helper.make_model(
        helper.make_graph(graph.nodes, "policy", [given], outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="safe-envs",
    )
    helper.set_model_props(built, dict(metadata))
    onnx.checker.check_model(built, full_check=True)
    return built


def _standardize(graph: OnnxGraph, venv: VecNormalize) -> None:
    """Add the normalization of VecNormalize, also in double precision."""
    moments = moments_of(venv)
    deviation = np.sqrt(moments.var + venv.epsilon)
    graph.add("Cast", to=TensorProto.DOUBLE)
    graph.add("Sub", moments.mean.reshape(1, -1).astype(np.float64))
    graph.add("Div", deviation.reshape(1, -1).astype(np.float64))
    graph.add("Clip", np.array(-float(venv.clip_obs)), np.array(float(venv.clip_obs)))
    graph.add("Cast", to=TensorProto.FLOAT)


def _gaussian(
    graph: OnnxGraph, model: ConstrainedAgent, space: spaces.Box
) -> list[onnx.ValueInfoProto]:
    size = int(np.prod(space.shape))
    graph.join("Identity", graph.current, "mean")
    log_std = graph.constant(model.policy.log_std.detach().cpu().numpy().reshape(1, -1))
    graph.join("Sub", "mean", "mean", "")  # zeros, one row per observation
    graph.join("Add", graph.current, log_std, "log_std")
    graph.join("Max", "mean", graph.constant(space.low.reshape(1, -1).astype(np.float32)), "")
    graph.add("Min", space.high.reshape(1, -1).astype(np.float32), output="action")
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name in ("mean", "log_std", "action")
    ]


def _residual_mean(graph: OnnxGraph, policy: ResidualPolicy) -> None:
    """Append base(x) + share(x) phi(x / scale), from the observations to the mean actions.

    Args:
        graph: its last tensor holds observations, (batch, n).
        policy: its backup is a `LinearFeedback`.
    """
    observation = graph.current
    backup = policy.backup
    assert isinstance(backup, LinearFeedback)
    base = _linear_controller(graph, observation, backup, policy.clip_backup)
    addition = _network(graph, observation, policy)
    if backup.full_share_radius > 0.0:
        share = _share(graph, observation, backup.full_share_radius)
        graph.join("Mul", addition, share, "")
        addition = graph.current
    graph.join("Add", base, addition, "")


def _linear_controller(
    graph: OnnxGraph, observation: str, backup: LinearFeedback, clipped: bool
) -> str:
    gain = graph.constant(-backup.gain.T.astype(np.float32))
    graph.join("MatMul", observation, gain, "")
    if clipped:
        graph.add("Clip", _scalar(backup.low), _scalar(backup.high))
    return graph.current


def _network(graph: OnnxGraph, observation: str, policy: ResidualPolicy) -> str:
    network = policy.mlp_extractor.hidden
    scale = policy.mlp_extractor.scale.detach().cpu().numpy().astype(np.float32)
    graph.join("Div", observation, graph.constant(scale), "")
    _silu(graph, network.first)
    for block in network.blocks:
        before = graph.current
        _silu(graph, block)
        graph.join("Add", before, graph.current, "")
    graph.layer(policy.action_net.last)
    return graph.current


def _silu(graph: OnnxGraph, linear: nn.Module) -> None:
    """Append z sigmoid(z) of a linear layer's output z."""
    graph.layer(linear)
    z = graph.current
    graph.add("Sigmoid")
    graph.join("Mul", z, graph.current, "")


def _share(graph: OnnxGraph, observation: str, radius: float) -> str:
    """Append min(|x| / radius, 1), (batch, 1)."""
    axes = graph.constant(np.array([1], dtype=np.int64))
    graph.join("ReduceL2", observation, axes, "", keepdims=1)
    graph.add("Div", _scalar(radius))
    graph.add("Min", _scalar(1.0))
    return graph.current


def _scalar(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)
