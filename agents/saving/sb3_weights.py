"""The weights in a file of Stable-Baselines3, read without running what is in it.

Such a file is a zip with the settings as JSON, in which pickles are embedded as text, and the
policy's weights as a file of torch.save. The pickles are left alone. The weights are read by
PyTorch's restricted reader (`weights_only=True`), which makes tensors and plain containers only.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from typing import Any, NamedTuple

import torch

from agents.saving.archive import (
    BROKEN,
    DOCUMENT,
    SavedAgentError,
    document_from_json,
    member,
    opened_zip,
    shown,
)

WEIGHTS, SETTINGS = "policy.pth", "data"
LARGEST_SETTINGS = 32 * 2**20  # [bytes]


class ForeignWeights(NamedTuple):
    """What is taken from a file of Stable-Baselines3."""

    tensors: dict[str, torch.Tensor]
    classes: dict[str, str]  # full names of the classes among the policy's arguments
    settings: dict[str, Any]  # what is plain JSON there


def is_agent_file(path: Any) -> bool:
    """Return whether a zip is the file of an agent of this package."""
    with opened_zip(path) as archive:
        return DOCUMENT in archive.namelist()


def sb3_weights(path: Any) -> ForeignWeights:
    """Return the weights of the policy in a file of Stable-Baselines3.

    Raises:
        FileNotFoundError: if there is none.
        SavedAgentError: if it is no such file, or its weights are not plain tensors.
    """
    with opened_zip(path) as archive:
        if WEIGHTS not in archive.namelist() or SETTINGS not in archive.namelist():
            raise SavedAgentError(
                f"{shown(path)} is neither the file of an agent nor one of Stable-Baselines3"
            )
        settings = document_from_json(member(archive, SETTINGS, LARGEST_SETTINGS), shown(path))
        content = member(archive, WEIGHTS, archive.getinfo(WEIGHTS).compress_size)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            stored = all(one.compress_type == zipfile.ZIP_STORED for one in inner.infolist())
        if not stored:
            raise ValueError("they are compressed, which torch.save never does")
        tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (*BROKEN, pickle.UnpicklingError, OSError, TypeError, AttributeError) as error:
        raise SavedAgentError(f"the weights in {shown(path)} cannot be read: {error}") from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise SavedAgentError(f"the weights in {shown(path)} are not tensors by name")
    return ForeignWeights(dict(tensors), _classes(settings.get("policy_kwargs")), settings)


def _classes(policy_kwargs: Any) -> dict[str, str]:
    """Return the names of classes, which stand as text beside the pickle of the arguments."""
    if not isinstance(policy_kwargs, dict):
        return {}
    matches = {k: re.fullmatch(r"<class '(.+)'>", str(v)) for k, v in policy_kwargs.items()}
    return {key: match[1] for key, match in matches.items() if match is not None}
