"""From flat raw observations to the features of a policy's networks, as ONNX nodes.

The flat observation of a Dict is the concatenation of its parts in the order of the space. A part
is standardized in double precision as `agents.observation_normalizer` does, or an image, or passed
on as it is: one-hot vectors are flat already, since `gymnasium.spaces.flatten` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from gymnasium import spaces
from onnx import TensorProto
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn

from agents.actor_critic import MlpPolicy
from agents.observation_normalizer import CLIP, describes
from agents.scpo.residual_policy import ResidualPolicy
from baselines.policy_export.onnx_graph import OnnxGraph

FLAT = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class FlatPart(NamedTuple):
    """A part of the observations and its place in the flat vector."""

    space: spaces.Space  # of the environment's observations
    start: int
    end: int


def parts_of(space: spaces.Space) -> Mapping[str, spaces.Space]:
    """Return the parts of a Dict, or the space itself as the part ""."""
    return space.spaces if isinstance(space, spaces.Dict) else {"": space}


def columns_of(space: spaces.Space) -> dict[str, FlatPart]:
    """Return the place of each part in `gymnasium.spaces.flatten` of an observation."""
    parts = parts_of(space)
    ends = np.cumsum([0, *map(spaces.flatdim, parts.values())]).tolist()
    return {key: FlatPart(part, *ends[i : i + 2]) for i, (key, part) in enumerate(parts.items())}


def moments_of(policy: MlpPolicy) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return mean and deviation of each part that the policy standardizes."""
    if isinstance(policy, ResidualPolicy):
        inputs = policy.normalizer
        return {"": (inputs.shift.cpu().numpy(), inputs.scale.cpu().numpy())}
    found: dict[str, tuple[np.ndarray, np.ndarray]] = describes(policy.normalizer)
    return found


def is_transposed(given: spaces.Space, seen: spaces.Space) -> bool:
    """Return whether Stable-Baselines3 moves the channels of an image to the front.

    Args:
        given: of the environment.
        seen: of the agent.
    """
    if given.shape is None or seen.shape is None or len(given.shape) != 3:
        return False
    height, width, channels = given.shape
    return given.shape != seen.shape and seen.shape == (channels, height, width)


def add_features(graph: OnnxGraph, policy: MlpPolicy, space: spaces.Space) -> None:
    """Append the features of the actor, from the flat observations to (batch, n).

    Args:
        graph: its last tensor holds flat raw observations.
        policy: its features extractor is one that `layers_by_part` knows.
        space: of the environment's observations.
    """
    columns, seen = columns_of(space), parts_of(policy.observation_space)
    moments, flat = moments_of(policy), graph.current
    whole = spaces.flatdim(space)
    features = []
    for key, layers in (layers_by_part(policy.pi_features_extractor) or {}).items():
        graph.current = flat
        given, start, end = columns[key]
        if end - start < whole:
            graph.add("Slice", *(np.array([place], dtype=np.int64) for place in (start, end, 1)))
        if key in moments:
            _standardize(graph, *moments[key])
        if policy.normalize_images and is_image_space(seen[key]):
            graph.add("Div", np.array(255.0, dtype=np.float32))
        if layers or is_transposed(given, seen[key]):
            _shape_image(graph, given, seen[key])
            for layer in layers or [nn.Flatten()]:
                graph.layer(layer)
        features.append(graph.current)
    if len(features) > 1:
        graph.join("Concat", *features, "", axis=1)


def layers_by_part(extractor: nn.Module) -> dict[str, list[nn.Module]] | None:
    """Return the layers that make features of each part, none if it is only flattened.

    None for an extractor of another kind.
    """
    if type(extractor) is FlattenExtractor:
        return {"": []}
    if type(extractor) is NatureCNN:
        return {"": [*extractor.cnn, *extractor.linear]}
    if type(extractor) is CombinedExtractor:
        return {
            key: [*part.cnn, *part.linear] if isinstance(part, NatureCNN) else []
            for key, part in extractor.extractors.items()
        }
    return None


def _standardize(graph: OnnxGraph, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Append clip((x - mean) / deviation, -10, 10); 0 where the deviation is 0.

    A deviation of 0 is written as infinity: every finite number divided by it is 0.
    """
    divisor = np.where(deviation > 0.0, deviation, np.inf)
    graph.add("Cast", to=TensorProto.DOUBLE)
    graph.add("Sub", mean.reshape(1, -1))
    graph.add("Div", divisor.reshape(1, -1))
    graph.add("Clip", np.array(-CLIP), np.array(CLIP))
    graph.add("Cast", to=TensorProto.FLOAT)


def _shape_image(graph: OnnxGraph, given: spaces.Space, seen: spaces.Space) -> None:
    """Append what turns flat images of the environment into (batch, channels, height, width)."""
    assert given.shape is not None
    graph.add("Reshape", np.array([-1, *given.shape], dtype=np.int64))
    if is_transposed(given, seen):
        graph.add("Transpose", perm=[0, 3, 1, 2])
