"""What a file of a saved agent holds, and whether this version can read it."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.save_util import load_from_zip_file


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
