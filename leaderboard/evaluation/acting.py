"""Turns what a policy file answers into actions, drawing them where the policy is stochastic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from gymnasium import Space, spaces

from leaderboard.policy_files.gate import check_actions

LARGEST_LOG_STD = 20.0  # beyond, every draw is at a bound anyway


def actions_of(
    outputs: dict[str, np.ndarray],
    space: Space,
    stochastic: bool,
    generators: Sequence[np.random.Generator],
) -> list[np.ndarray | np.int64]:
    """Return one action per row.

    A stochastic policy draws a Discrete action a with probability softmax(logits)_a and a Box
    action from Normal(mean, exp(log_std)^2). A deterministic one takes its file's action, else the
    largest logit or the mean. Box actions are clipped to their space.

    Args:
        outputs: of the policy, each (rows, width).
        space: of the environment's actions, Box or Discrete.
        stochastic: draw the actions.
        generators: one per row, so that no episode's draws depend on another's.

    Raises:
        PolicyFailed: if a Discrete action is out of range.
        TypeError: for an action space of another kind.
    """
    if isinstance(space, spaces.Discrete):
        check_actions(outputs, space)
        chosen = _discrete(outputs, stochastic, generators)
        return [np.int64(space.start + number) for number in chosen]
    if not isinstance(space, spaces.Box):
        raise TypeError(f"actions are {space}; policy files answer Box and Discrete actions")
    rows = _gaussian(outputs, generators) if stochastic else _deterministic_box(outputs)
    return [_within(row, space) for row in rows]


def _discrete(
    outputs: Mapping[str, np.ndarray],
    stochastic: bool,
    generators: Sequence[np.random.Generator],
) -> np.ndarray:
    if not stochastic and "action" in outputs:
        return outputs["action"].reshape(-1)
    logits = outputs["logits"].astype(np.float64)  # (rows, n)
    if not stochastic:
        return logits.argmax(axis=1)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True)).cumsum(axis=1)
    drawn = np.array([generator.random() for generator in generators]) * weights[:, -1]
    return (weights <= drawn[:, None]).sum(axis=1)


def _gaussian(
    outputs: Mapping[str, np.ndarray], generators: Sequence[np.random.Generator]
) -> np.ndarray:
    mean = outputs["mean"].astype(np.float64)  # (rows, k)
    deviation = np.exp(np.minimum(outputs["log_std"].astype(np.float64), LARGEST_LOG_STD))
    noise = np.array([generator.standard_normal(mean.shape[1]) for generator in generators])
    return mean + deviation * noise


def _deterministic_box(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return outputs["action"] if "action" in outputs else outputs["mean"]


def _within(row: np.ndarray, space: spaces.Box) -> np.ndarray:
    return np.clip(row.reshape(space.shape), space.low, space.high).astype(space.dtype)
