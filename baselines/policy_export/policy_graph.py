"""A policy as an ONNX model, from raw flat observations to actions of the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from gymnasium import spaces
from onnx import TensorProto, helper
from stable_baselines3.common.vec_env import unwrap_vec_normalize
from torch import nn

from agents import ConstrainedAgent
from agents.actor_critic import MlpPolicy
from agents.scpo.residual_policy import ResidualPolicy
from baselines.policy_export.action_outputs import ACTIONS, add_outputs
from baselines.policy_export.observed_features import (
    FLAT,
    add_features,
    is_transposed,
    layers_by_part,
    parts_of,
)
from baselines.policy_export.onnx_graph import ACTIVATIONS, OnnxGraph
from baselines.policy_export.residual_mean import add_residual_mean
from safe_envs.contract.backup_policy import LinearFeedback

OPSET = 20
IR_VERSION = 10  # of that opset


class ExportRefusedError(ValueError):
    """This kind of policy cannot be written as an ONNX file."""


def policy_graph(
    model: ConstrainedAgent, space: spaces.Space, metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """Return the policy of an agent as an ONNX model.

    Args:
        model: a trained agent.
        space: of the environment's observations.
        metadata: kept in the model.

    Raises:
        ExportRefusedError: if the observations, the actions or the network cannot be exported.
    """
    _check_supported(model, space)
    policy, graph = model.policy, OnnxGraph("observation")
    if isinstance(policy, ResidualPolicy):
        add_residual_mean(graph, policy)
    else:
        add_features(graph, policy, space)
        for layer in [*policy.mlp_extractor.policy_net, policy.action_net]:
            graph.layer(layer)
    return finished_model(graph, add_outputs(graph, policy), spaces.flatdim(space), metadata)


def finished_model(
    graph: OnnxGraph,
    outputs: Sequence[onnx.ValueInfoProto],
    size: int,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """Return a checked ONNX model.

    Args:
        graph: from the flat observation to the outputs.
        outputs: of the graph.
        size: of the flat observation.
        metadata: kept in the model.
    """
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


def _check_supported(model: ConstrainedAgent, space: spaces.Space) -> None:
    """Raise ExportRefusedError unless the file can hold the whole policy."""
    _check_observations(model, space)
    if not isinstance(model.action_space, ACTIONS):
        raise ExportRefusedError(
            f"actions are {type(model.action_space).__name__}; export takes {_names(ACTIONS)} "
            "actions"
        )
    policy = model.policy
    if policy.repair_head is not None:
        raise ExportRefusedError(
            "the policy repairs its actions by a constraint that its environment declares, which a "
            "file cannot hold; train without head, or evaluate the agent in its environment"
        )
    extractor = policy.pi_features_extractor
    if layers_by_part(extractor) is None:
        raise ExportRefusedError(
            f"features come from {type(extractor).__name__}; export takes the features of "
            "MlpPolicy, CnnPolicy and MultiInputPolicy"
        )
    if isinstance(policy, ResidualPolicy):
        if not isinstance(policy.backup, LinearFeedback):
            raise ExportRefusedError(
                f"the safe policy is {type(policy.backup).__name__}, code that the file "
                "cannot hold; export takes safe_envs.LinearFeedback"
            )
        return
    _check_layers(policy)


def _check_observations(model: ConstrainedAgent, space: spaces.Space) -> None:
    """Check the kinds of observations, and that the policy gets them as the environment's are."""
    for part in parts_of(space).values():
        if not isinstance(part, FLAT):
            raise ExportRefusedError(
                f"observations are {type(part).__name__}; the file has one flat input, so export "
                f"takes {_names(FLAT)} observations, and Dict with such parts"
            )
    given, seen = parts_of(space), parts_of(model.observation_space)
    same = given.keys() == seen.keys() and all(
        part == seen[key] or is_transposed(part, seen[key]) for key, part in given.items()
    )
    if not same:
        raise ExportRefusedError(
            f"the agent observes {model.observation_space} and the environment gives {space}; the "
            "file takes the environment's own observations, so train without wrappers of VecEnv "
            "that change them, or make them part of the environment"
        )
    normalizer = None if model.env is None else unwrap_vec_normalize(model.env)
    outside = normalizer is not None and normalizer.norm_obs
    if outside or (model.normalize_observation and not model.policy.normalize_observation):
        raise ExportRefusedError(
            "the observations are standardized by VecNormalize, outside of the agent; leave it "
            "out, and let the agent do it: normalize_observation=True"
        )


def _check_layers(policy: MlpPolicy) -> None:
    known: tuple[type, ...] = (nn.Linear, *ACTIVATIONS)
    for layer in policy.mlp_extractor.policy_net:
        if type(layer) not in known:
            raise ExportRefusedError(
                f"the network has a layer {type(layer).__name__}; export takes {_names(known)}"
            )


def _names(kinds: tuple[type, ...]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)
