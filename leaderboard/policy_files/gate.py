"""Decides whether a policy file is accepted: first by its content, then by a short trial.

A policy is an ONNX file with one float32 input of any name, (batch, n) with n =
`gymnasium.spaces.flatdim` of the observations, and these outputs:

    Box actions        action; or mean and log_std; or all three; each (batch, k), float32 or
                       float64, k the number of entries of an action; action is int64 or int32 if
                       the space is one of integers
    Discrete actions   action, (batch,) or (batch, 1), int64 or int32, from 0 to n - 1; or logits,
                       (batch, n), float32 or float64; or both
    MultiDiscrete      the same with action (batch, k) for k numbers, and the logits of all of them
                       one after the other
    MultiBinary        the same with action (batch, k), 0 or 1, and logits (batch, k): action j is 1
                       with probability 1 / (1 + exp(-logits_j))
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import closing

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from gymnasium import Space, spaces
from onnx import ModelProto, TensorProto, ValueInfoProto

from leaderboard.policy_files.graph_values import check_values
from leaderboard.policy_files.message_parts import MessageRefused, count_parts
from leaderboard.policy_files.onnx_rules import check_model
from leaderboard.policy_files.onnx_tensors import LARGEST_MODEL, type_name
from leaderboard.policy_files.policy_refused import PolicyRefused, shortened
from leaderboard.policy_files.state_audit import WatchedPolicy, check_repeats
from leaderboard.sandbox.policy import PolicyFailed, SandboxedPolicy, SandboxLimits
from leaderboard.sandbox.policy_signature import PolicyOutput, PolicySignature

__all__ = ["PolicyRefused", "check_actions", "check_graph", "check_policy", "probe_observations"]

MOST_PARTS = 50_000  # fields in the file; a graph of 512 nodes has a few thousand
LARGEST_TEXT = 64 * 1024  # [bytes] of everything that is neither numbers nor structure
LARGEST_PROBE = 1e6  # takes the place of infinite bounds
_PROBES = 16
_TRIAL = SandboxLimits(cpu_seconds=20, call_seconds=30.0, total_seconds=60.0)
CHOICES = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)


def check_graph(
    model_bytes: bytes, observation_space: Space, action_space: Space
) -> PolicySignature:
    """Return a file's input size and outputs, without running anything.

    Args:
        model_bytes: the file.
        observation_space: of the environment.
        action_space: of the environment, Box, Discrete, MultiDiscrete or MultiBinary.

    Raises:
        PolicyRefused: if it breaks a rule; the message is for the submitter.
        ValueError: if the environment's actions are of another kind.
    """
    possible = _possible_outputs(action_space)
    model = _parsed(model_bytes)
    check_model(model)
    size = int(spaces.flatdim(observation_space))
    _check_input(model.graph.input, size)
    outputs = model.graph.output
    names = [value.name for value in outputs]
    if len(names) != len(set(names)) or frozenset(names) not in _possible_sets(action_space):
        allowed = "; or ".join(" and ".join(sorted(each)) for each in _possible_sets(action_space))
        raise PolicyRefused(
            f"the outputs are {_listed(names)}; allowed for {action_space} are {allowed}; rename "
            "the outputs of the graph"
        )
    for value in outputs:
        _check_output(value, possible[value.name])
    check_values(model.graph)
    return PolicySignature(size, tuple(possible[name] for name in names))


def check_policy(
    model_bytes: bytes,
    observation_space: Space,
    action_space: Space,
    limits: SandboxLimits = _TRIAL,
) -> PolicySignature:
    """Return a file's input size and outputs, after a trial on a few observations.

    Args:
        model_bytes: the file.
        observation_space: of the environment; its random state does not change.
        action_space: of the environment, Box, Discrete, MultiDiscrete or MultiBinary.
        limits: for the trial.

    Raises:
        PolicyRefused: if it breaks a rule or fails in the trial.
        ValueError: if the environment's actions are of another kind.
        SandboxUnavailable: if no process for it could be started.
    """
    signature = check_graph(model_bytes, observation_space, action_space)
    with (
        closing(SandboxedPolicy(model_bytes, signature, limits)) as policy,
        closing(WatchedPolicy(policy)) as watched,
    ):
        pass_trial(watched, observation_space, action_space)
    return signature


def pass_trial(
    policy: SandboxedPolicy | WatchedPolicy, observation_space: Space, action_space: Space
) -> None:
    """Start a policy and try it on a few observations; it keeps running.

    If it is watched, a second process with the same file has to give the same answers.

    Raises:
        PolicyRefused: if it fails or has a memory; the message is for the submitter.
        SandboxUnavailable: if no process for it could be started.
    """
    try:
        policy.start()
        try_out(policy, observation_space, action_space)
    except PolicyFailed as failure:
        raise PolicyRefused(
            f"{failure}; allowed: finite numbers of the declared shapes for all observations of "
            f"{observation_space}, infinite bounds taken as {LARGEST_PROBE:.0e}; try it on such "
            "observations"
        ) from None


def try_out(
    policy: SandboxedPolicy | WatchedPolicy, observation_space: Space, action_space: Space
) -> None:
    """Run a policy on a few observations, including extreme ones, several times in any order.

    Raises:
        PolicyFailed: if an answer is not finite, has a wrong shape, or is out of range.
        PolicyRefused: if an answer changes, or that of a watched policy is not confirmed.
    """
    random, extremes = probe_observations(observation_space)
    for batch in (random, extremes):
        check_actions(policy.outputs(batch), action_space)
    check_repeats(policy, np.concatenate([random, extremes]), len(extremes))
    if isinstance(policy, WatchedPolicy):
        policy.confirm()


def check_actions(outputs: dict[str, np.ndarray], action_space: Space) -> None:
    """Check that the numbers of choices are in range; Box actions are clipped later.

    Args:
        outputs: of the policy, each (rows, width).
        action_space: of the environment.

    Raises:
        PolicyFailed: if one is not.
    """
    if isinstance(action_space, spaces.Box) or "action" not in outputs:
        return
    actions = outputs["action"]
    largest = _choices(action_space) - 1
    if (actions < 0).any() or (actions > largest).any():
        shown = " or ".join(map(str, dict.fromkeys(largest.tolist()[:10])))
        raise PolicyFailed(f"the policy answered an action outside 0 to {shown}")


def probe_observations(observation_space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Return flat observations to try, float32 (rows, n): random ones and extreme ones.

    The extreme ones are zero and the bounds of a Box, with +-1e6 for infinite bounds.
    """
    space = copy.deepcopy(observation_space)  # do not seed the caller's space
    space.seed(0)
    drawn = [spaces.flatten(space, space.sample()) for _ in range(_PROBES)]
    random = np.array(drawn, dtype=np.float32)
    if not isinstance(space, spaces.Box):
        return random, random[:1]
    low = np.clip(space.low, -LARGEST_PROBE, LARGEST_PROBE).ravel()
    high = np.clip(space.high, -LARGEST_PROBE, LARGEST_PROBE).ravel()
    extremes = [np.clip(0.0, low, high), low, high, np.where(np.arange(low.size) % 2, low, high)]
    return random, np.array(extremes, dtype=np.float32)


def _possible_outputs(action_space: Space) -> dict[str, PolicyOutput]:
    """Return the outputs that a policy for this action space may have, by name.

    Raises:
        ValueError: if policy files cannot answer actions of this space.
    """
    if isinstance(action_space, spaces.Box):
        width = int(np.prod(action_space.shape))
        whole = np.issubdtype(action_space.dtype, np.integer)
        drawn = {name: PolicyOutput(name, width, False) for name in ("mean", "log_std")}
        return {"action": PolicyOutput("action", width, whole), **drawn}
    if isinstance(action_space, CHOICES):
        choices = _choices(action_space)
        binary = isinstance(action_space, spaces.MultiBinary)
        return {
            "action": PolicyOutput("action", choices.size, whole=True),
            "logits": PolicyOutput("logits", choices.size if binary else int(choices.sum()), False),
        }
    raise ValueError(
        f"actions are {action_space}; policy files support Box, Discrete, MultiDiscrete and "
        "MultiBinary actions; evaluate on an environment with one of them"
    )


def _choices(action_space: Space) -> np.ndarray:
    """Return the number of choices of each entry of an action, (k,)."""
    if isinstance(action_space, spaces.Discrete):
        return np.array([action_space.n])
    if isinstance(action_space, spaces.MultiDiscrete):
        return action_space.nvec.ravel()
    assert isinstance(action_space, spaces.MultiBinary)
    return np.full(spaces.flatdim(action_space), 2)


def _possible_sets(action_space: Space) -> tuple[frozenset[str], ...]:
    """Return the sets of outputs that a policy for this action space may have."""
    drawn = {"mean", "log_std"} if isinstance(action_space, spaces.Box) else {"logits"}
    return frozenset({"action"}), frozenset(drawn), frozenset({"action", *drawn})


def _parsed(model_bytes: bytes) -> ModelProto:
    if len(model_bytes) > LARGEST_MODEL:
        raise PolicyRefused(
            f"the file has {len(model_bytes):,} bytes; the limit is {LARGEST_MODEL:,}; submit a "
            "smaller network"
        )
    model = ModelProto()
    try:
        parts = count_parts(model_bytes, ModelProto.DESCRIPTOR, MOST_PARTS)
        model.ParseFromString(model_bytes)
    except MessageRefused as error:
        raise PolicyRefused(f"the file is malformed: {error}; submit an ONNX file") from None
    except DecodeError:
        raise PolicyRefused(
            "the file is malformed: not an ONNX message; submit an ONNX file"
        ) from None
    if parts.text_bytes > LARGEST_TEXT:
        raise PolicyRefused(
            f"names, doc_string and metadata_props have {parts.text_bytes:,} bytes together; the "
            f"limit is {LARGEST_TEXT:,}; clear metadata_props and doc_string of the nodes, where "
            "exporters note the source code"
        )
    if not model.HasField("graph"):
        raise PolicyRefused("the file is malformed: it has no graph; submit an ONNX file")
    return model


def _check_input(inputs: Sequence[ValueInfoProto], size: int) -> None:
    allowed = f"allowed: one float32 input of shape (batch, {size})"
    if len(inputs) != 1:
        raise PolicyRefused(
            f"the graph has {len(inputs)} inputs; {allowed}; turn the others into constants"
        )
    found = inputs[0].type.tensor_type
    if found.elem_type != TensorProto.FLOAT:
        raise PolicyRefused(
            f"the input has the element type {type_name(found.elem_type)}; {allowed}; cast it"
        )
    shape = _shape(inputs[0])
    if len(shape) != 2 or shape[0] not in (None, 1) or shape[1] != size:
        raise PolicyRefused(
            f"the input has the shape {_written(shape)}; {allowed}; flatten observations with "
            "gymnasium.spaces.flatten"
        )


def _check_output(value: ValueInfoProto, output: PolicyOutput) -> None:
    found = value.type.tensor_type
    types = _INTEGERS if output.whole else _FLOATS
    if found.elem_type not in types:
        raise PolicyRefused(
            f"the output {output.name!r} has the element type {type_name(found.elem_type)}; "
            f"allowed: {' or '.join(map(type_name, types))}; cast it"
        )
    if not found.HasField("shape"):
        return  # the trial shows it
    shape = _shape(value)
    wide = len(shape) == 2 and shape[1] in (None, output.width)
    if not (wide or (output.may_be_flat and len(shape) == 1)) or shape[0] not in (None, 1):
        raise PolicyRefused(
            f"the output {output.name!r} has the shape {_written(shape)}; allowed: (batch, "
            f"{output.width}){' or (batch,)' if output.may_be_flat else ''}; reshape it"
        )


def _shape(value: ValueInfoProto) -> list[int | None]:
    """Return the sizes of a declared shape, None where a size is left open."""
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") else None for size in sizes[:9]]


def _written(shape: list[int | None]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"


def _listed(names: list[str]) -> str:
    return ", ".join(repr(shortened(name)) for name in names[:10]) or "none"
