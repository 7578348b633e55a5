"""From the output of a policy's last layer to the outputs of the file, as ONNX nodes.

A Gaussian policy acts in [-1, 1] between finite bounds (`agents.action_scaling`); the file answers
in the units of the environment:

    mean = middle + half u,   log_std = log_std_u + log(half)

They are in double precision, because bounds such as 1e6 and 1e6 + 1 need it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import onnx
import torch
from gymnasium import spaces
from onnx import TensorProto, helper

from agents.action_scaling import ActionScaling
from baselines.policy_export.onnx_graph import OnnxGraph

ACTIONS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class ActionHead(Protocol):
    """What is known of a policy behind its last layer; `log_std` of Box actions only, (k,)."""

    @property
    def action_space(self) -> spaces.Space:
        """Of the environment."""

    @property
    def action_scaling(self) -> ActionScaling:
        """From the policy's units to the environment's."""

    @property
    def log_std(self) -> torch.Tensor:
        """Log of the deviations, in the policy's units."""


def add_outputs(graph: OnnxGraph, policy: ActionHead) -> list[onnx.ValueInfoProto]:
    """Append the outputs of a policy, whose last tensor is (batch, k), and return them."""
    space = policy.action_space
    if isinstance(space, spaces.Box):
        return _gaussian(graph, policy, space)
    graph.join("Identity", graph.current, "logits")
    if isinstance(space, spaces.Discrete):
        graph.join("ArgMax", "logits", "action", axis=1, keepdims=0)
        return [_logits(int(space.n)), _value("action", TensorProto.INT64)]
    if isinstance(space, spaces.MultiDiscrete):
        graph.join("Gather", "logits", graph.constant(_choices(space.nvec)), "", axis=1)
        graph.join("ArgMax", graph.current, "action", axis=2, keepdims=0)
        return [
            _logits(int(space.nvec.sum())),
            _value("action", TensorProto.INT64, space.nvec.size),
        ]
    assert isinstance(space, spaces.MultiBinary)
    size = spaces.flatdim(space)
    graph.join("Greater", "logits", graph.constant(np.array(0.0, dtype=np.float32)), "")
    graph.add("Cast", output="action", to=TensorProto.INT64)
    return [_logits(size), _value("action", TensorProto.INT64, size)]


def _gaussian(graph: OnnxGraph, policy: ActionHead, space: spaces.Box) -> list[onnx.ValueInfoProto]:
    scaling, size = policy.action_scaling, spaces.flatdim(space)
    half, middle = scaling.half.reshape(1, -1), scaling.middle.reshape(1, -1)
    log_std = policy.log_std.detach().double().cpu().numpy().reshape(1, -1)
    graph.add("Cast", to=TensorProto.DOUBLE)
    graph.add("Mul", half)
    graph.add("Add", middle, output="mean")
    graph.join("Sub", "mean", "mean", "")  # zeros, one row per observation
    graph.add("Add", log_std + np.log(half), output="log_std")
    graph.current = "mean"
    return [
        _value("mean", TensorProto.DOUBLE, size),
        _value("log_std", TensorProto.DOUBLE, size),
        add_action(graph, space),
    ]


def add_action(graph: OnnxGraph, space: spaces.Box) -> onnx.ValueInfoProto:
    """Append the action within the bounds, from the last tensor (batch, k) in double precision."""
    if np.issubdtype(space.dtype, np.integer):
        graph.add("Round")  # half to even, as NumPy's rint
    graph.add("Max", space.low.reshape(1, -1).astype(np.float64))
    graph.add("Min", space.high.reshape(1, -1).astype(np.float64))
    kind = _number_type(space)
    graph.add("Cast", output="action", to=kind)
    return _value("action", kind, spaces.flatdim(space))


def _number_type(space: spaces.Box) -> int:
    """Return the type of the file's actions: the space's own, if the format has it."""
    if np.issubdtype(space.dtype, np.integer):
        return int(TensorProto.INT64)
    return int(TensorProto.DOUBLE if space.dtype == np.float64 else TensorProto.FLOAT)


def _choices(sizes: np.ndarray) -> np.ndarray:
    """Return the columns of the logits of each number, (numbers, largest size).

    Short rows are filled up with their first column. That never changes the most likely choice,
    because ArgMax takes the first of equal ones.
    """
    starts = np.cumsum([0, *sizes.ravel()[:-1]])[:, None]
    place = np.arange(sizes.max())[None, :]
    return (starts + np.where(place < sizes.reshape(-1, 1), place, 0)).astype(np.int64)


def _logits(size: int) -> onnx.ValueInfoProto:
    return _value("logits", TensorProto.FLOAT, size)


def _value(name: str, kind: int, size: int | None = None) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = ["batch"] if size is None else ["batch", size]
    return helper.make_tensor_value_info(name, kind, shape)
