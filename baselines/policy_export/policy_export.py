"""Exports a trained policy as an ONNX file that runs without PyTorch and acts the same.

Input: `observation`, float32 (batch, n), which is `gymnasium.spaces.flatten` of the raw
observation; the standardization of observations is part of the graph. Outputs, by the actions:

    Box             mean and log_std, float64 (batch, k), in the environment's units, and action,
                    the mean within the bounds, rounded for actions of integers
    Discrete        logits (batch, n) and action, the most likely one, (batch,)
    MultiDiscrete   logits of all numbers, one after the other, and action (batch, k)
    MultiBinary     logits of 1 against 0 and action, both (batch, k)

Actions that are numbers of choices count from 0; the environment's may start from another number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gymnasium import spaces

from agents import ConstrainedAgent
from agents.training_env import Contract
from baselines.atomic_files import write_atomically
from baselines.policy_export.policy_graph import ExportRefusedError, policy_graph
from baselines.policy_export.policy_parity import (
    ParityError,
    check_parity,
    check_rounding,
    flat_observations,
    onnx_session,
)

__all__ = [
    "ExportRefusedError",
    "ParityError",
    "check_parity",
    "export_policy",
    "flat_observations",
    "onnx_session",
    "policy_graph",
    "policy_metadata",
]


def export_policy(
    model: ConstrainedAgent, space: spaces.Space, path: Path, metadata: Mapping[str, str]
) -> None:
    """Write the policy as an ONNX file after checking that it acts as the agent does.

    Args:
        model: a trained agent.
        space: of the environment's observations; the agent's own has the channels of images first.
        path: of the file.
        metadata: kept in the file.

    Raises:
        ExportRefusedError: if the observations, the actions or the network cannot be exported.
        ParityError: if the exported policy differs by more than 1e-5 of the actions' range.
    """
    content = policy_graph(model, space, metadata).SerializeToString()
    check_rounding(model, space)
    check_parity(content, model, space)
    write_atomically(path, content)


def policy_metadata(model: ConstrainedAgent, env: str, seed: int, version: str) -> dict[str, str]:
    """Return the metadata of the file."""
    told = {"agent": type(model).__name__, "env": env, "seed": str(seed)}
    return contract_metadata(Contract(model.constraints, model.reward_discount), told, version)


def contract_metadata(contract: Contract, told: Mapping[str, str], version: str) -> dict[str, str]:
    """Return the metadata of a file with the contract that its policy was trained for.

    Args:
        contract: the constraints and the discounts.
        told: agent, env and seed.
        version: of this project.
    """
    constraints = [
        {"name": c.name, "limit": c.limit, "discount": c.discount} for c in contract.constraints
    ]
    return {
        **told,
        "safe_envs_version": version,
        "reward_discount": repr(contract.reward_discount),
        "constraints": json.dumps(constraints),
    }
