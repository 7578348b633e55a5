"""What a saved agent's file holds, whether this version can read it, and what can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cloudpickle
import numpy as np
import torch
from stable_baselines3.common.save_util import load_from_zip_file

from safe_envs.contract.argument_checks import closest_hint, is_number
from safe_envs.contract.cost_signal import with_limits

PROGRESS = (1.0, 0.75, 0.5, 0.25, 0.0)  # at which schedules are compared
FOUND_OUT = ("gamma", "cost_gamma", "learning_rate")  # None lets the agent choose them


def saved_data(
    path: Any, device: torch.device | str, custom_objects: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the attributes in the file of an agent; a file object is left at its start.

    Raises:
        ValueError: if an earlier version saved it, whose modules have moved since.
    """
    try:
        data, _, _ = load_from_zip_file(path, device=device, custom_objects=custom_objects)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("agents", "safe_envs"):
            raise
        raise ValueError(
            f"{path} was saved by an earlier version, whose module {error.name} has moved; "
            "train the agent again"
        ) from error
    if not isinstance(path, str) and hasattr(path, "seek"):
        path.seek(0)
    assert data is not None
    return data


def attributes_changed(
    data: Mapping[str, Any], changes: Mapping[str, Any], path: Any
) -> dict[str, Any]:
    """Return the attributes of a loaded agent that `load` was asked to replace.

    Args:
        data: the attributes in the file.
        changes: further arguments of `load`: attributes, such as `n_steps` or `learning_rate`,
            `cost_limit`, or settings of the agent's parts, which keep their state in the file and
            therefore have to be the same.
        path: of the file, for the error.

    Raises:
        TypeError: if the agent has no such argument.
        ValueError: if a setting differs from the file's, or for a wrong number of limits.
    """
    settings, changed = data["settings"], {}
    for name, value in changes.items():
        if name == "cost_limit":
            changed["constraints"] = with_limits(data["constraints"], value, name)
        elif name in settings:
            if not _same(value, settings[name]):
                raise ValueError(
                    f"{name} is {settings[name]!r} in {path}, and loading cannot change it to "
                    f"{value!r}; leave it out, or make a new agent"
                )
        elif name in data:
            if value is not None or name not in FOUND_OUT:
                changed[name] = value
        else:
            names = sorted({*settings, *data, "cost_limit"})
            raise TypeError(f"unknown argument {name!r}; {closest_hint(name, names)}")
    return changed


def _same(one: Any, other: Any) -> bool:
    """Return whether two settings are equal; a number equals a schedule that is constant."""
    if callable(one) and is_number(other):
        return all(one(progress) == other for progress in PROGRESS)
    if callable(other) and is_number(one):
        return _same(other, one)
    return bool(np.array_equal(one, other)) or cloudpickle.dumps(one) == cloudpickle.dumps(other)
