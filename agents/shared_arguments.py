"""Checks of the arguments that all agents share, and arguments of PPO that have no effect here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import get_device

from safe_envs.contract.argument_checks import check_flag, check_number, check_whole, is_number

# Arguments of Stable-Baselines3's PPO that agents accept at the value that changes nothing.
WITHOUT_EFFECT: dict[str, Any] = {
    "use_sde": False,
    "sde_sample_freq": -1,
    "clip_range_vf": None,
    "rollout_buffer_class": None,
    "rollout_buffer_kwargs": None,
}
SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
SIGNAL_BYTES = 6 * 8  # kept per step and signal while a batch is made


def without_no_ops(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without those that have no effect.

    Raises:
        ValueError: if one of these is set to something else.
    """
    for name, value in given.items():
        if name in WITHOUT_EFFECT and value != WITHOUT_EFFECT[name]:
            raise ValueError(
                f"{name} is {value!r}; these agents have no {name}: leave it out, or pass "
                f"{WITHOUT_EFFECT[name]!r}"
            )
    return {name: value for name, value in given.items() if name not in WITHOUT_EFFECT}


def check_learning_rate(value: Any) -> None:
    """Raise ValueError unless this is a number >= 0 or a function of the remaining progress."""
    if callable(value):
        return
    if not is_number(value):
        raise ValueError(
            f"learning_rate is {value!r}; pass a number, or a function of the remaining progress "
            "such as agents.LinearDecay(3e-4)"
        )
    check_number("learning_rate", value, low=0.0)


def check_shared(arguments: Mapping[str, Any]) -> None:
    """Raise ValueError if one of the given shared arguments is out of range."""
    for name in ("gamma", "cost_gamma", "gae_lambda", "cost_gae_lambda"):
        can_be_none = name.endswith("gamma")  # the declared discount
        if name in arguments and not (can_be_none and arguments[name] is None):
            check_number(name, arguments[name], low=0.0, high=1.0)
    for name in ("normalize_observation", "end_saves_cost"):
        if name in arguments:
            check_flag(name, arguments[name])
    for name, low in (("n_steps", 1), ("n_envs", 1), ("stats_window_size", 1), ("verbose", 0)):
        if name in arguments:
            check_whole(name, arguments[name], low=low)
    if arguments.get("seed") is not None:
        check_whole("seed", arguments["seed"], low=0)
    folder = arguments.get("tensorboard_log")
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise ValueError(f"tensorboard_log is {folder!r}; pass the path of a folder, or None")
    if arguments.get("learning_rate") is not None:
        check_learning_rate(arguments["learning_rate"])


def check_policy_class(policy: Any, base: type, names: Iterable[str]) -> None:
    """Raise TypeError for a class that is not one of this project's policies."""
    if isinstance(policy, type) and not issubclass(policy, base):
        raise TypeError(
            f"policy is {policy.__name__}; pass a name of {sorted(names)} or a subclass of "
            f"{base.__module__}.{base.__name__}, which has the critics of the costs"
        )


def check_end(end_saves_cost: bool, cost_gamma: float) -> None:
    """Raise ValueError if costs would go on forever without a discount."""
    if not end_saves_cost and cost_gamma >= 1.0:
        raise ValueError(
            f"cost_gamma is {cost_gamma:g} and end_saves_cost is False: costs that go on behind an "
            "end have no finite sum; pass cost_gamma below 1, such as 0.995"
        )


def checked_device(device: torch.device | str) -> torch.device:
    """Return the device.

    Raises:
        ValueError: if PyTorch has no device of that name, or not on this machine.
    """
    try:
        found = get_device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device is {device!r}; pass 'cpu', 'cuda', 'cuda:0' or 'auto', as PyTorch has it here "
            f"({error})"
        ) from error
    return found


def check_memory(rows: int, observations: spaces.Space, num_signals: int) -> None:
    """Raise ValueError if a rollout of this many steps cannot fit into the machine's memory."""
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = rows * (2 * _bytes(observations) + num_signals * SIGNAL_BYTES)
    if needed > available:
        raise ValueError(
            f"a rollout of {rows:,} steps needs about {needed / 2**30:.0f} GiB of memory and the "
            f"machine has {available / 2**30:.0f}; pass a smaller n_steps or fewer environments"
        )


def check_spaces(policy: Any, observations: spaces.Space, actions: spaces.Space) -> None:
    """Raise ValueError, with what to do, for spaces that no policy here handles."""
    if isinstance(observations, spaces.Dict) and policy in ("MlpPolicy", "CnnPolicy"):
        raise ValueError(f"observations are dictionaries; pass 'MultiInputPolicy', not {policy!r}")
    parts = observations.spaces if isinstance(observations, spaces.Dict) else {"": observations}
    for part in parts.values():
        is_number = isinstance(part, spaces.Box) and part.shape == ()
        if not isinstance(part, SPACES) or is_number:
            raise ValueError(
                f"observations are {part}; pass Box of at least one dimension, Discrete, "
                "MultiDiscrete or MultiBinary, or a Dict of these: wrap the environment, for "
                "example with gymnasium.wrappers.FlattenObservation"
            )
    flat = isinstance(actions, spaces.Box | spaces.Discrete) or len(actions.shape or ()) == 1
    if not isinstance(actions, SPACES) or not flat:
        raise ValueError(
            f"actions are {actions}; pass Box, Discrete, or MultiDiscrete or MultiBinary of one "
            "dimension: wrap the environment, for example with gymnasium.wrappers.TransformAction"
        )


def _bytes(space: spaces.Space) -> int:
    if isinstance(space, spaces.Dict):
        return sum(_bytes(part) for part in space.spaces.values())
    itemsize = np.dtype(space.dtype or np.float32).itemsize
    return int(np.prod(space.shape or ())) * itemsize
