"""Optima and controllers that are known exactly, as ONNX files in the format of `policy_export`.

linear program   logits(s) = log p(. | s) of the optimal table, for observations that are rows
of the identity matrix
backup policy    action = clip(-K x, low, high), the environment's own safe controller
clipped target   action = f(x), clipped to the band where the band applies
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
from gymnasium import spaces
from onnx import TensorProto, helper

from agents.tabular.linear_program import linear_program
from baselines.names.environments import (
    EnvironmentName,
    find_tabular_observations,
    tabular_model_of,
)
from baselines.policy_export.action_outputs import add_action
from baselines.policy_export.onnx_graph import OnnxGraph
from baselines.policy_export.policy_graph import ExportRefusedError, finished_model
from baselines.policy_export.policy_parity import flat_observations
from safe_envs.contract.argument_checks import unknown_name
from safe_envs.contract.backup_policy import LinearFeedback
from safe_envs.control.constrained_regression import BOUND, CONSTRAINED

FREQUENCIES = (1.0, 3.0, 7.0)  # of `safe_envs.control.constrained_regression.target`
SMALLEST = 1e-30  # probability of an action that is never taken; its logarithm has to be finite


@dataclass(frozen=True)
class ExactPolicy:
    """A policy that needs no training."""

    content: bytes  # of the ONNX file
    name: str  # for a table of results
    stochastic: bool  # it acts by drawing from its logits
    value: float | None = None  # its exact value, if that is known
    costs: tuple[float, ...] = ()  # its exact costs, if the value is known


def exact_policy(kind: str, env: EnvironmentName, metadata: Mapping[str, str]) -> ExactPolicy:
    """Return the policy of a kind for an environment.

    Args:
        kind: "linear program", "backup policy" or "clipped target".
        env: where it acts.
        metadata: kept in the file.

    Raises:
        ValueError: if there is no such kind.
        ExportRefusedError: if the environment has no such policy, or the file cannot hold it.
    """
    if kind not in KINDS:
        raise ValueError(unknown_name("exact policy", kind, KINDS))
    return KINDS[kind](env, metadata)


def table_policy(
    probabilities: np.ndarray, observations: np.ndarray, metadata: Mapping[str, str]
) -> bytes:
    """Return the ONNX file of a table of action probabilities.

    Args:
        probabilities: of the actions in each state, (S, A).
        observations: of each state, flattened, (S, n).
        metadata: kept in the file.

    Raises:
        ExportRefusedError: if the observations are not the rows of the identity matrix.
    """
    states, actions = probabilities.shape
    if not np.array_equal(observations, np.eye(states)):
        raise ExportRefusedError(
            f"the {states} states are observed as {np.shape(observations)} numbers that are "
            "not the rows of the identity matrix; export takes numbers of states, and such rows"
        )
    graph = OnnxGraph("observation")
    graph.add("MatMul", np.log(probabilities + SMALLEST).astype(np.float32), output="logits")
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", actions])
    return _file(graph, [logits], states, metadata)


def _linear_program(env: EnvironmentName, metadata: Mapping[str, str]) -> ExactPolicy:
    optimum, seen = linear_program(tabular_model_of(env)), find_tabular_observations(env)
    if seen is None:
        raise ExportRefusedError(f"{env} does not say what an agent observes in each state")
    with closing(env.make()) as made:
        flat = flat_observations(made.observation_space, seen)
    content = table_policy(optimum.policy, flat, metadata)
    costs = tuple(optimum.costs.tolist())
    return ExactPolicy(content, "exact optimum (linear program)", True, optimum.value, costs)


def _backup_policy(env: EnvironmentName, metadata: Mapping[str, str]) -> ExactPolicy:
    with closing(env.make()) as made:
        known: Any = made.unwrapped
        space = _box(made)
        controller = known.backup_policy()
    if not isinstance(controller, LinearFeedback):
        raise ExportRefusedError(
            f"the safe policy of {env} is {type(controller).__name__}, code that a file cannot "
            "hold; export takes safe_envs.LinearFeedback"
        )
    graph = OnnxGraph("observation")
    graph.add("Cast", to=TensorProto.DOUBLE)
    graph.add("MatMul", -controller.gain.T)
    graph.add("Clip", np.array(float(controller.low)), np.array(float(controller.high)))
    output = add_action(graph, space)
    content = _file(graph, [output], controller.gain.shape[1], metadata)
    return ExactPolicy(content, "clipped linear controller", stochastic=False)


def _clipped_target(env: EnvironmentName, metadata: Mapping[str, str]) -> ExactPolicy:
    with closing(env.make()) as made:
        space = _box(made)
    graph = OnnxGraph("observation")
    graph.add("Cast", to=TensorProto.DOUBLE)
    x = graph.current
    waves = []
    for frequency in FREQUENCIES:
        graph.join("Mul", x, graph.constant(np.array(frequency)), "")
        graph.add("Sin")
        waves.append(graph.current)
    graph.join("Sum", *waves, "")
    target = graph.current
    graph.add("Clip", np.array(-BOUND), np.array(BOUND))
    clipped = graph.current
    graph.join("Abs", x, "")
    graph.add("LessOrEqual", np.array(CONSTRAINED))
    graph.join("Where", graph.current, clipped, target, "")
    content = _file(graph, [add_action(graph, space)], 1, metadata)
    return ExactPolicy(content, "clipped target", stochastic=False)


KINDS: dict[str, Callable[[EnvironmentName, Mapping[str, str]], ExactPolicy]] = {
    "linear program": _linear_program,
    "backup policy": _backup_policy,
    "clipped target": _clipped_target,
}


def _box(env: gym.Env) -> spaces.Box:
    space = env.action_space
    if not isinstance(space, spaces.Box):
        raise ExportRefusedError(f"actions are {space}; this kind of policy answers Box actions")
    return space


def _file(
    graph: OnnxGraph,
    outputs: list[onnx.ValueInfoProto],
    size: int,
    metadata: Mapping[str, str],
) -> bytes:
    content: bytes = finished_model(graph, outputs, size, metadata).SerializeToString()
    return content
