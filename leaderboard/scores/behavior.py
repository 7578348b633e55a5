"""Compares what policies do: how far apart two policies are on the same observations.

The distance is relative to how much the policies themselves vary over the observations, so it has
the same meaning after a short training, when all actions are nearly equal, as after a long one:

    d(a, b) = rms(a - b) / sqrt((var(a) + var(b)) / 2)

where a and b are answers (states, numbers) and var is the mean squared deviation from their mean
over the states. It is 0 for the same behavior and about 1.4 for unrelated policies. What changes a
file but not what its policy does leaves no trace in the answers:

    Box actions   the mean, or the action if the policy acts deterministically, clipped to the space
                  and in units of its range; not log_std
    logits        log probabilities, at least `LEAST_LOG`, minus their mean over the choices; both
                  sides are divided by their own sqrt(var), since scaled logits order choices alike
    choices       1 for the chosen one and 0 for all others

The states are those of the earlier policy: `VISITED` that it visits itself, then `RANDOM` ones that
random actions visit. The distance is the smaller one of all states and of the visited ones alone,
so a copy that differs only where the original never goes is as near as one that does not differ.

Noise on the weights may move the actions more than two short trainings differ in theirs. But random
initial weights differ much, so weights tell that case apart: `weight_distances`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from gymnasium import Space, spaces
from scipy.special import log_expit, log_softmax

VISITED, RANDOM = 64, 64  # states of a fingerprint
STATES = VISITED + RANDOM
NEAR = 0.007  # policies at a smaller distance count as near-copies; docs/leaderboard.md has figures
ALIKE = 0.5  # the same for policies with nearly the same weights in the same places
SAME_WEIGHTS = 0.05  # distance of weights below which they count as nearly the same
LEAST_LOG = np.log(1e-9)  # rarer choices count as this rare
LEAST_VARIATION = 1e-6  # of constant policies, in units of the range
_Outputs = Mapping[str, np.ndarray]


def answers_of(outputs: _Outputs, space: Space, stochastic: bool) -> np.ndarray:
    """Return a policy's answers in the form in which they are compared, float32 (states, numbers).

    Args:
        outputs: of the policy file, each (states, width).
        space: of the environment's actions.
        stochastic: whether the policy draws its actions.
    """
    if isinstance(space, spaces.Box):
        found = _within(_center(outputs, stochastic), space)
    elif "logits" in outputs:
        found = _log_probabilities(outputs["logits"].astype(np.float64), space)
    else:
        found = _chosen(outputs["action"], space)
    return found.astype(np.float32)


def distances(answers: np.ndarray, others: np.ndarray, space: Space) -> np.ndarray:
    """Return the distance of each pair of policies.

    Args:
        answers: of policies, (pairs, STATES, numbers), on the states of the others' fingerprints.
        others: of the other policy of each pair, on the same states.
        space: of the environment's actions.

    Returns:
        Shape (pairs,).
    """
    is_free_of_scale = not isinstance(space, spaces.Box)
    everywhere = _distances(answers, others, is_free_of_scale)
    visited = _distances(answers[:, :VISITED], others[:, :VISITED], is_free_of_scale)
    return np.minimum(everywhere, visited)


def weight_distances(weights: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the root mean square difference of weights relative to that of the weights.

    Args:
        weights: a sample, (numbers,).
        others: the same entries of other files of the same form, (policies, numbers).

    Returns:
        Shape (policies,), infinite where all weights are 0.
    """
    first, second = weights.astype(np.float64), others.astype(np.float64)
    squared = np.mean(np.square(second - first), axis=1)
    scale = (np.mean(np.square(first)) + np.mean(np.square(second), axis=1)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found: np.ndarray = np.where(scale > 0, np.sqrt(squared / scale), np.inf)
    return found


def are_near(distance: np.ndarray, weight_distance: np.ndarray) -> np.ndarray:
    """Return which policies count as near-copies.

    Args:
        distance: of their behavior, from `distances`.
        weight_distance: of their weights, infinite for files of another form.
    """
    return (distance < NEAR) | ((distance < ALIKE) & (weight_distance < SAME_WEIGHTS))


def _distances(answers: np.ndarray, others: np.ndarray, is_free_of_scale: bool) -> np.ndarray:
    first, second = answers.astype(np.float64), others.astype(np.float64)
    one, two = _variation(first), _variation(second)
    if is_free_of_scale:
        first, second = first / np.sqrt(one)[:, None, None], second / np.sqrt(two)[:, None, None]
        one = two = np.ones(len(one))
    squared = np.mean(np.square(first - second), axis=(1, 2))
    found: np.ndarray = np.sqrt(squared / ((one + two) / 2))
    return found


def _variation(answers: np.ndarray) -> np.ndarray:
    """Return the mean squared deviation from the mean over the states, (policies,)."""
    deviations = answers - answers.mean(axis=1, keepdims=True)
    found: np.ndarray = np.mean(np.square(deviations), axis=(1, 2))
    return np.maximum(found, LEAST_VARIATION**2)


def _center(outputs: _Outputs, stochastic: bool) -> np.ndarray:
    if "mean" not in outputs or ("action" in outputs and not stochastic):
        return outputs["action"].astype(np.float64)
    return outputs["mean"].astype(np.float64)


def _within(actions: np.ndarray, space: spaces.Box) -> np.ndarray:
    """Return actions clipped to the space, in units of its range where that is finite."""
    if np.issubdtype(space.dtype, np.integer):
        actions = np.rint(actions)
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    with np.errstate(over="ignore"):
        width = high - low
    width = np.where(np.isfinite(width) & (width > 0), width, 1.0)
    return np.clip(actions, low, high) / width


def _log_probabilities(logits: np.ndarray, space: Space) -> np.ndarray:
    if isinstance(space, spaces.MultiBinary):
        return np.maximum(log_expit(logits), LEAST_LOG) - np.maximum(log_expit(-logits), LEAST_LOG)
    parts = []
    for part in np.split(logits, np.cumsum(_sizes(space))[:-1], axis=1):
        logs = np.maximum(log_softmax(part, axis=1), LEAST_LOG)
        parts.append(logs - logs.mean(axis=1, keepdims=True))
    return np.concatenate(parts, axis=1)


def _chosen(actions: np.ndarray, space: Space) -> np.ndarray:
    """Return 1 for each chosen number and 0 for all others."""
    if isinstance(space, spaces.MultiBinary):
        return actions.astype(np.float64)
    parts = [np.arange(size) == actions[:, [k]] for k, size in enumerate(_sizes(space))]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _sizes(space: Space) -> np.ndarray:
    """Return the number of choices of each number of an action."""
    if isinstance(space, spaces.Discrete):
        return np.array([space.n])
    assert isinstance(space, spaces.MultiDiscrete)
    return space.nvec.ravel()
