"""Exports a trained policy as an ONNX file that runs without PyTorch and acts the same.

Input: `observation`, float32 (batch, n), which is `gymnasium.spaces.flatten` of the observation
(Discrete ones one-hot); the standardization of observations is part of the graph. Outputs:
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
import onnxruntime
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import nn

from agents import ConstrainedAgent
from agents.scpo.residual_policy import ResidualPolicy
from baselines.atomic_files import write_atomically
from baselines.policy_export.observation_normalization import moments_of
from baselines.policy_export.policy_graph import ACTIVATIONS, policy_graph
from safe_envs.contract.backup_policy import LinearFeedback

TOLERANCE = 1e-5
CHECKED_OBSERVATIONS = 1000
OBSERVATIONS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class ExportRefusedError(ValueError):
    """This kind of policy cannot be written as an ONNX file."""


class ParityError(RuntimeError):
    """The exported policy acts differently from the original."""


def export_policy(
    model: ConstrainedAgent, venv: VecEnv, path: Path, metadata: Mapping[str, str]
) -> None:
    """Write the policy as an ONNX file after checking that it acts as the original does.

    Args:
        model: a trained agent.
        venv: its environments, which hold the standardization of the observations.
        path: of the file.
        metadata: kept in the file.

    Raises:
        ExportRefusedError: if the observations, the actions or the network cannot be exported.
        ParityError: if the exported policy differs by more than 1e-5.
    """
    _check_supported(model, venv)
    content = policy_graph(model, venv, metadata).SerializeToString()
    check_parity(content, model, venv)
    write_atomically(path, content)


def policy_metadata(model: ConstrainedAgent, env: str, seed: int, version: str) -> dict[str, str]:
    """Return the metadata of the file."""
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
            f"the exported policy differs from the original by {worst:.1e}; allowed: "
            f"{TOLERANCE:.0e}; check the scale of the observations"
        )


def onnx_session(content: bytes) -> onnxruntime.InferenceSession:
    """Return the policy ready to run, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def flat_observations(space: spaces.Space, observations: np.ndarray) -> np.ndarray:
    """Return observations in the form that the file takes, float32 (batch, n)."""
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


def _observations(venv: VecEnv, count: int) -> np.ndarray:
    """Return observations like those of the run, float32 if they are Box observations."""
    space = copy.deepcopy(venv.observation_space)  # seeding must not touch the run's
    rng = np.random.default_rng(0)
    if isinstance(venv, VecNormalize):
        moments = moments_of(venv)
        shape = (count, *moments.mean.shape)
        return rng.normal(moments.mean, np.sqrt(moments.var), shape).astype(np.float32)
    space.seed(0)
    return np.array([space.sample() for _ in range(count)])
