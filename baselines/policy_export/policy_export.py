"""A trained policy as an ONNX file that runs without PyTorch, and the check that it is the same.

Input: `observation`, float32 (batch, n), which is `gymnasium.spaces.flatten` of the observation
(Discrete ones one-hot); the standardisation of observations is part of the graph. Outputs:
for Box actions `mean` and `log_std`, both (batch, k), and `action`, the mean within the bounds;
for Discrete actions `logits` (batch, k) and `action`, the most likely one, (batch,).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from gymnasium import spaces
from onnx import TensorProto, helper
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from agents import ConstrainedAgent
from agents.scpo.residual_policy import ResidualPolicy
from baselines.atomic_files import write_atomically
from baselines.policy_export.observation_normalization import moments_of
from baselines.policy_export.onnx_graph import ACTIVATIONS, OnnxGraph
from baselines.policy_export.residual_export import residual_mean
from safe_envs.contract.backup_policy import LinearFeedback

OPSET = 20
IR_VERSION = 10  # what belongs to that opset
TOLERANCE = 1e-5
CHECKED_OBSERVATIONS = 1000
OBSERVATIONS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class ExportRefusedError(ValueError):
    """This kind of policy has no ONNX form."""


class ParityError(RuntimeError):
    """The exported policy acts differently from the original."""


def export_policy(
    model: ConstrainedAgent, venv: VecEnv, path: Path, metadata: Mapping[str, str]
) -> None:
    """Write the policy as an ONNX file after checking that it acts as the original does.

    Args:
        model: a trained agent.
        venv: its environments, which hold the standardisation of the observations.
        path: of the file.
        metadata: kept in the file.

    Raises:
        ExportRefusedError: if the observations, the actions or the network have no such form.
        ParityError: if the exported policy differs by more than 1e-5.
    """
    _check_supported(model, venv)
    content = policy_graph(model, venv, metadata).SerializeToString()
    check_parity(content, model, venv)
    write_atomically(path, content)


def policy_metadata(model: ConstrainedAgent, env: str, seed: int, version: str) -> dict[str, str]:
    """Return what the file says about itself."""
    constraints = [
        {"name": c.name, "limit": c.limit, "discount": c.discount} for c in model.constraints
    ]
    return {
        "agent": type(model).__name__,
        "env": env,
        "seed": str(seed),
        "safe_envs_version": version,
        "reward_discount": repr(model.reward_discount),
        "constraints": json.dumps(constraints),
    }


def policy_graph(
    model: ConstrainedAgent, venv: VecEnv, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """Return the policy as an ONNX model."""
    graph = OnnxGraph("observation")
    size = spaces.flatdim(venv.observation_space)
    if isinstance(venv, VecNormalize):
        _standardise(graph, venv)
    if isinstance(model.policy, ResidualPolicy):
        residual_mean(graph, model.policy)
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


def check_parity(content: bytes, model: ConstrainedAgent, venv: VecEnv) -> None:
    """Raise ParityError unless file and policy agree on observations as the run saw them."""
    raw = _observations(venv, CHECKED_OBSERVATIONS)
    seen = venv.normalize_obs(raw) if isinstance(venv, VecNormalize) else raw
    with torch.no_grad():
        distribution: Any = model.policy.get_distribution(torch.as_tensor(seen)).distribution
    session = onnx_session(content)
    given = {"observation": flat_observations(venv.observation_space, raw)}
    if isinstance(model.action_space, spaces.Box):
        mean, log_std = session.run(["mean", "log_std"], given)
        pairs = [(mean, distribution.mean), (log_std, distribution.stddev.log())]
    else:
        (logits,) = session.run(["logits"], given)
        pairs = [(torch.as_tensor(logits).log_softmax(1).numpy(), distribution.logits)]
    worst = max(float(np.abs(ours - theirs.numpy()).max()) for ours, theirs in pairs)
    if not worst <= TOLERANCE:
        raise ParityError(
            f"the exported policy differs from the original by {worst:.1e}; allowed is "
            f"{TOLERANCE:.0e}; look at the scale of the observations"
        )


def onnx_session(content: bytes) -> onnxruntime.InferenceSession:
    """Return the policy ready to run, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def flat_observations(space: spaces.Space, observations: np.ndarray) -> np.ndarray:
    """Return observations as the file takes them, float32 (batch, n)."""
    return np.array([spaces.flatten(space, row) for row in observations], dtype=np.float32)


def _check_supported(model: ConstrainedAgent, venv: VecEnv) -> None:
    observation, action = venv.observation_space, model.action_space
    if not isinstance(observation, OBSERVATIONS):
        raise ExportRefusedError(
            f"observations are {type(observation).__name__}; the file has one flat input, so "
            f"export takes {', '.join(kind.__name__ for kind in OBSERVATIONS)} observations"
        )
    if not isinstance(action, spaces.Box | spaces.Discrete):
        raise ExportRefusedError(
            f"actions are {type(action).__name__}; export takes Box and Discrete actions"
        )
    if not isinstance(model.policy.pi_features_extractor, FlattenExtractor):
        raise ExportRefusedError(
            f"features come from {type(model.policy.pi_features_extractor).__name__}; export takes "
            "MlpPolicy, whose features are the flat observation"
        )
    if isinstance(model.policy, ResidualPolicy):
        if not isinstance(model.policy.backup, LinearFeedback):
            raise ExportRefusedError(
                f"the safe policy is {type(model.policy.backup).__name__}, code that the file "
                "cannot hold; export takes safe_envs.LinearFeedback"
            )
        return
    for layer in model.policy.mlp_extractor.policy_net:
        if type(layer) not in (nn.Linear, *ACTIVATIONS):
            raise ExportRefusedError(
                f"the network has a layer {type(layer).__name__}; export takes Linear and "
                f"{', '.join(kind.__name__ for kind in ACTIVATIONS)}"
            )


def _standardise(graph: OnnxGraph, venv: VecNormalize) -> None:
    """Add what VecNormalize does, in double precision as there."""
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


def _observations(venv: VecEnv, count: int) -> np.ndarray:
    """Return observations like those of the run, float32 if they are numbers on a line."""
    space = copy.deepcopy(venv.observation_space)  # seeding must not touch the run's
    rng = np.random.default_rng(0)
    if isinstance(venv, VecNormalize):
        moments = moments_of(venv)
        shape = (count, *moments.mean.shape)
        return rng.normal(moments.mean, np.sqrt(moments.var), shape).astype(np.float32)
    space.seed(0)
    return np.array([space.sample() for _ in range(count)])
