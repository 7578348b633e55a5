"""The actor of SCPO, a linear controller plus a network, as ONNX nodes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from torch import nn

from agents.scpo.residual_policy import ResidualPolicy
from baselines.policy_export.onnx_graph import OnnxGraph
from safe_envs.contract.backup_policy import LinearFeedback


def add_residual_mean(graph: OnnxGraph, policy: ResidualPolicy) -> None:
    """Append base(x) + share(x) phi(z), from the observations to the mean in the policy's units.

    base, share and the standardized observation z are computed in double precision, as
    `ResidualInputs` does.

    Args:
        graph: its last tensor holds raw observations, (batch, n) float32.
        policy: its backup is a `LinearFeedback`.
    """
    backup = policy.backup
    assert isinstance(backup, LinearFeedback)
    graph.add("Cast", to=TensorProto.DOUBLE)
    exact = graph.current
    base = _linear_controller(graph, exact, policy, backup)
    addition = _network(graph, exact, policy)
    if backup.full_share_radius > 0.0:
        share = _share(graph, exact, backup.full_share_radius)
        graph.join("Mul", addition, share, "")
        addition = graph.current
    graph.join("Add", base, addition, "")


def _linear_controller(
    graph: OnnxGraph, exact: str, policy: ResidualPolicy, backup: LinearFeedback
) -> str:
    graph.join("MatMul", exact, graph.constant(-backup.gain.T), "")
    if policy.clip_backup:
        graph.add("Clip", np.array(float(backup.low)), np.array(float(backup.high)))
    graph.add("Sub", policy.action_scaling.middle.reshape(1, -1))
    graph.add("Div", policy.action_scaling.half.reshape(1, -1))
    graph.add("Cast", to=TensorProto.FLOAT)
    return graph.current


def _network(graph: OnnxGraph, exact: str, policy: ResidualPolicy) -> str:
    """Append phi(z) with z = clip((x - shift) / scale), 0 where the scale is 0."""
    inputs, network = policy.normalizer, policy.mlp_extractor.hidden
    shift, scale = (part.cpu().numpy().reshape(1, -1) for part in (inputs.shift, inputs.scale))
    graph.current = exact
    graph.add("Sub", shift)
    graph.add("Div", np.where(scale > 0.0, scale, np.inf))
    if np.isfinite(inputs.clip):
        graph.add("Clip", np.array(-inputs.clip), np.array(inputs.clip))
    graph.add("Cast", to=TensorProto.FLOAT)
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


def _share(graph: OnnxGraph, exact: str, radius: float) -> str:
    """Append min(|x| / radius, 1), (batch, 1)."""
    axes = graph.constant(np.array([1], dtype=np.int64))
    graph.join("ReduceL2", exact, axes, "", keepdims=1)
    graph.add("Div", np.array(float(radius)))
    graph.add("Min", np.array(1.0))
    graph.add("Cast", to=TensorProto.FLOAT)
    return graph.current
