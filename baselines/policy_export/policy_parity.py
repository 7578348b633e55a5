"""Compares an exported policy with the agent, on raw observations as it met them in training."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from scipy.special import log_softmax

from agents import ConstrainedAgent
from agents.action_scaling import ActionScaling
from agents.observation_normalizer import Raw
from baselines.onnx_runtime import InferenceSession, SessionOptions
from baselines.policy_export.observed_features import moments_of, parts_of
from baselines.policy_export.policy_graph import ExportRefusedError

TOLERANCE = 1e-5  # of half the range of an action, or of a log probability
ROUNDING_TOLERANCE = 1e-3  # the same, for the rounding of observations to float32
CHECKED_OBSERVATIONS = 1000
CHECKED_NUMBERS = 2_000_000  # in all, which makes it fewer large images


class ParityError(RuntimeError):
    """The exported policy acts differently from the original."""


def check_parity(content: bytes, model: ConstrainedAgent, space: spaces.Space) -> None:
    """Raise ParityError unless file and agent have the same distributions of actions.

    Args:
        content: of the file.
        model: the agent.
        space: of the environment's observations.
    """
    raw = in_float32(observations_like_seen(model, space))
    worst = distribution_difference(content, model, space, raw, model.policy.action_scaling)
    if not worst <= TOLERANCE:
        raise ParityError(
            f"the exported policy differs from the original by {worst:.1e}; allowed: "
            f"{TOLERANCE:.0e}; check the scale of the network's weights"
        )


def distribution_difference(
    content: bytes, model: Any, space: spaces.Space, raw: Raw, scaling: ActionScaling
) -> float:
    """Return the largest difference between the distributions of a file and of an agent.

    Args:
        content: of the file.
        model: the agent, with a policy of Stable-Baselines3's actor-critic form.
        space: of the environment's observations.
        raw: observations, (N, ...).
        scaling: to the policy's units, which are shares of a range.
    """
    given = {"observation": flat_observations(space, raw)}
    session = onnx_session(content)
    if isinstance(model.action_space, spaces.Box):
        mean, log_std = session.run(["mean", "log_std"], given)
        found = [(mean - scaling.middle) / scaling.half, log_std - np.log(scaling.half)]
    else:
        found = [_log_probabilities(session.run(["logits"], given)[0], model.action_space)]
    return _difference(found, action_parameters(model, raw))


def check_rounding(model: ConstrainedAgent, space: spaces.Space) -> None:
    """Check that the agent acts the same on observations rounded to float32, the file's input.

    Raises:
        ExportRefusedError: if it does not.
    """
    exact = observations_like_seen(model, space)
    with np.errstate(over="ignore"):
        rounded = in_float32(exact)
    if not np.isfinite(flat_observations(space, rounded)).all():
        raise ExportRefusedError(
            "the observations are beyond 3e38, where float32 ends, the type of the file's input; "
            "divide them by a constant in the environment"
        )
    worst = _difference(action_parameters(model, rounded), action_parameters(model, exact))
    if not worst <= ROUNDING_TOLERANCE:
        raise ExportRefusedError(
            "the observations are large and vary little, and the file's input, float32, has 7 "
            f"digits: rounding changes actions by {worst:.1e} of half their range, or logits by as "
            f"much; allowed: {ROUNDING_TOLERANCE:.0e}; subtract a constant from the observations "
            "in the environment"
        )


def action_parameters(model: Any, raw: Raw) -> list[np.ndarray]:
    """Return the parameters of the agent's distributions at raw observations, in its own units.

    Mean and log deviation of Box actions, else `_log_probabilities`, each (N, k).
    """
    with torch.no_grad():
        given, _ = model.policy.obs_to_tensor(raw)
        found: Any = model.policy.get_distribution(given).distribution
    if isinstance(model.action_space, spaces.Box):
        return [found.mean.cpu().numpy(), found.stddev.log().cpu().numpy()]
    choices = found if isinstance(found, list) else [found]
    return [torch.cat([one.logits for one in choices], dim=1).cpu().numpy()]


def observations_like_seen(model: ConstrainedAgent, space: spaces.Space) -> Raw:
    """Return random observations of the environment, (N, ...), with the moments of training.

    Entries that have not varied are drawn with deviation 1. Parts that are not standardized are
    drawn from their space.
    """
    count = max(min(CHECKED_OBSERVATIONS, CHECKED_NUMBERS // spaces.flatdim(space)), 1)
    moments, rng = moments_of(model.policy), np.random.default_rng(0)
    parts = {}
    for key, part in parts_of(space).items():
        if key not in moments:
            own = copy.deepcopy(part)  # seeding must not touch the run's
            own.seed(0)
            parts[key] = np.array([own.sample() for _ in range(count)])
            continue
        assert isinstance(part, spaces.Box)
        mean, deviation = moments[key]
        spread = np.where(deviation > 0.0, deviation, 1.0)
        drawn = rng.normal(mean, spread, (count, mean.size)).reshape(count, *part.shape)
        whole = np.issubdtype(part.dtype, np.integer)
        parts[key] = (np.rint(drawn) if whole else drawn).astype(part.dtype)
    return parts if isinstance(space, spaces.Dict) else parts[""]


def in_float32(observations: Raw) -> Raw:
    """Return observations rounded to float32, in their own type."""
    if isinstance(observations, dict):
        return {key: in_float32(part) for key, part in observations.items()}  # type: ignore[misc]
    return observations.astype(np.float32).astype(observations.dtype)


def flat_observations(space: spaces.Space, observations: Raw) -> np.ndarray:
    """Return observations (N, ...) in the form that the file takes, float32 (N, n)."""
    if isinstance(space, spaces.Dict):
        assert isinstance(observations, dict)
        parts = [flat_observations(part, observations[key]) for key, part in space.spaces.items()]
        return np.concatenate(parts, axis=1)
    assert not isinstance(observations, dict)
    return np.array([spaces.flatten(space, row) for row in observations], dtype=np.float32)


def onnx_session(content: bytes) -> InferenceSession:
    """Return the policy ready to run, on one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; they need not be printed as well
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _log_probabilities(logits: np.ndarray, space: spaces.Space) -> np.ndarray:
    """Return the log probabilities of all choices; the logits of MultiBinary actions as they are.

    Args:
        logits: (N, k).
        space: of the actions.
    """
    if isinstance(space, spaces.MultiBinary):
        return logits
    sizes = space.nvec.tolist() if isinstance(space, spaces.MultiDiscrete) else [logits.shape[1]]
    each = np.split(logits.astype(np.float64), np.cumsum(sizes)[:-1], axis=1)
    return np.concatenate([log_softmax(one, axis=1) for one in each], axis=1)


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference, relative for numbers above 1."""
    apart = [
        np.abs(one - other) / np.maximum(np.abs(other), 1.0)
        for one, other in zip(found, expected, strict=True)
    ]
    return max(float(each.max()) for each in apart)
