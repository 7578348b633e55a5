"""The actor of SCPO, a linear controller plus a network, as ONNX nodes."""

from __future__ import annotations

import numpy as np
from torch import nn

from agents.scpo.residual_policy import ResidualPolicy
from baselines.policy_export.onnx_graph import OnnxGraph
from safe_envs.contract.backup_policy import LinearFeedback


def add_residual_mean(graph: OnnxGraph, policy: ResidualPolicy) -> None:
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
