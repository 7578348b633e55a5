"""Exports policies of Stable-Baselines3's own agents, in the same format as those of `agents`.

Actor-critic policies (PPO, A2C, TRPO) give the distribution of their actions. SAC, TD3, DDPG and
DQN give the action alone: what they sample from is no Gaussian of the action, or a choice at random
that only training makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
import torch
from gymnasium import spaces
from onnx import TensorProto, helper
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.action_scaling import ActionScaling
from baselines.atomic_files import write_atomically
from baselines.policy_export.action_outputs import ACTIONS, add_action, add_outputs
from baselines.policy_export.observed_features import FLAT
from baselines.policy_export.onnx_graph import ACTIVATIONS, OnnxGraph
from baselines.policy_export.policy_graph import ExportRefusedError, finished_model
from baselines.policy_export.policy_parity import (
    TOLERANCE,
    distribution_difference,
    flat_observations,
    onnx_session,
)

Outputs = list[onnx.ValueInfoProto]
STEPS = 200  # of an episode with the policy's own actions, on whose observations it is compared
TAKEN = "ActorCriticPolicy, SACPolicy, TD3Policy and DQNPolicy"


def export_plain_policy(
    model: Any, make_env: Callable[[], gym.Env], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write the policy as an ONNX file after checking that it acts as the agent does.

    Args:
        model: a trained agent.
        make_env: makes its environment.
        path: of the file.
        metadata: kept in the file.

    Raises:
        ExportRefusedError: if the policy has another form, or the file would act differently.
    """
    with closing(make_env()) as env:
        content = _graph(model, env, metadata).SerializeToString()
        _check_same_actions(content, model, env)
    write_atomically(path, content)


@dataclass(frozen=True)
class _PlainHead:
    """What follows the last layer of an actor-critic policy: no scaling of actions."""

    action_space: spaces.Space
    action_scaling: ActionScaling
    log_std: torch.Tensor


def _graph(model: Any, env: gym.Env, metadata: Mapping[str, str]) -> onnx.ModelProto:
    policy: Any = vars(model).get("policy")
    form = next((forms for kind, forms in FORMS.items() if isinstance(policy, kind)), None)
    if form is None:
        raise ExportRefusedError(
            f"the policy is a {type(policy).__name__}; export takes {TAKEN} of Stable-Baselines3"
        )
    space = env.observation_space
    if not isinstance(space, FLAT) or is_image_space(space):
        raise ExportRefusedError(
            f"observations are {space}; of agents of Stable-Baselines3 export takes vectors and "
            "numbers of choices"
        )
    if not isinstance(env.action_space, ACTIONS) or model.get_vec_normalize_env() is not None:
        raise ExportRefusedError(
            f"actions are {env.action_space}, or VecNormalize changes the observations outside of "
            "the agent"
        )
    graph = OnnxGraph("observation")
    outputs = form(graph, policy, env.action_space)
    return finished_model(graph, outputs, spaces.flatdim(space), metadata)


def _actor_critic(graph: OnnxGraph, policy: Any, space: spaces.Space) -> Outputs:
    if policy.use_sde or policy.squash_output:
        raise ExportRefusedError(
            "the policy draws state-dependent noise (use_sde), which the file has no output for"
        )
    if type(policy).get_distribution is not ActorCriticPolicy.get_distribution:
        raise ExportRefusedError(
            f"{type(policy).__name__} makes its distribution in its own way, such as with a "
            "memory or masks, which the file has no input for"
        )
    _layers(graph, policy.pi_features_extractor, [*policy.mlp_extractor.policy_net])
    _layers(graph, None, [policy.action_net])
    log_std = policy.log_std if isinstance(space, spaces.Box) else torch.zeros(0)
    return add_outputs(graph, _PlainHead(space, ActionScaling(space, enabled=False), log_std))


def _squashed_gaussian(graph: OnnxGraph, policy: Any, space: spaces.Space) -> Outputs:
    actor = policy.actor
    mean = [*actor.mu] if isinstance(actor.mu, nn.Sequential) else [actor.mu]
    _layers(graph, actor.features_extractor, [*actor.latent_pi, *mean])
    graph.add("Tanh")
    return _within_bounds(graph, space)


def _bounded_action(graph: OnnxGraph, policy: Any, space: spaces.Space) -> Outputs:
    _layers(graph, policy.actor.features_extractor, [*policy.actor.mu])
    return _within_bounds(graph, space)


def _best_value(graph: OnnxGraph, policy: Any, space: spaces.Space) -> Outputs:
    _layers(graph, policy.q_net.features_extractor, [*policy.q_net.q_net])
    graph.add("ArgMax", output="action", axis=1, keepdims=0)
    return [helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"])]


FORMS: dict[type, Callable[[OnnxGraph, Any, spaces.Space], Outputs]] = {
    ActorCriticPolicy: _actor_critic,
    SACPolicy: _squashed_gaussian,
    TD3Policy: _bounded_action,  # DDPG's too
    DQNPolicy: _best_value,
}


def _within_bounds(graph: OnnxGraph, space: spaces.Space) -> Outputs:
    """Append low + (u + 1) (high - low) / 2 of the last tensor u in [-1, 1]."""
    assert isinstance(space, spaces.Box), "these agents take no other actions"
    low, high = (one.reshape(1, -1).astype(np.float64) for one in (space.low, space.high))
    graph.add("Cast", to=TensorProto.DOUBLE)
    graph.add("Mul", 0.5 * (high - low))
    graph.add("Add", low + 0.5 * (high - low))
    return [add_action(graph, space)]


def _layers(graph: OnnxGraph, features: nn.Module | None, layers: list[nn.Module]) -> None:
    known: tuple[type, ...] = (nn.Linear, *ACTIVATIONS)
    if features is not None and type(features) is not FlattenExtractor:
        raise ExportRefusedError(
            f"features come from {type(features).__name__}; export takes FlattenExtractor"
        )
    for layer in layers:
        if type(layer) not in known:
            raise ExportRefusedError(
                f"the network has a layer {type(layer).__name__}; export takes "
                f"{', '.join(one.__name__ for one in known)}"
            )
        graph.layer(layer)


def _check_same_actions(content: bytes, model: Any, env: gym.Env) -> None:
    """Raise ExportRefusedError unless file and agent act the same on observations of episodes."""
    session, seen = onnx_session(content), _observations(model, env)
    wanted = model.predict(seen, deterministic=True)[0]
    given = {"observation": flat_observations(env.observation_space, seen)}
    found = session.run(["action"], given)[0].reshape(wanted.shape).astype(np.float64)
    apart = float((np.abs(found - wanted) / _half_range(env.action_space)).max())
    if isinstance(model.policy, ActorCriticPolicy):
        scaling = ActionScaling(env.action_space, enabled=False)
        other = distribution_difference(content, model, env.observation_space, seen, scaling)
        apart = max(apart, other)
    if not apart <= TOLERANCE:
        raise ExportRefusedError(
            f"the exported policy differs from the agent by {apart:.1e}; allowed: {TOLERANCE:.0e}; "
            "the agent does more than its network, or its observations need float64"
        )


def _observations(model: Any, env: gym.Env) -> np.ndarray:
    """Return observations of episodes with the policy's own actions, (STEPS, ...)."""
    observation, _ = env.reset(seed=0)
    seen = []
    for _ in range(STEPS):
        seen.append(np.array(observation))
        action, _ = model.predict(observation, deterministic=True)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
    return np.array(seen)


def _half_range(space: spaces.Space) -> Any:
    if not isinstance(space, spaces.Box) or not space.is_bounded():
        return 1.0
    return np.maximum(0.5 * (space.high.astype(np.float64) - space.low), 1e-12)
