"""Genuine environments as bytes, also in the middle of an episode.

The package's own pickling loses the task's name, and a process that has not applied the fixes
cannot import its classes; so the bytes are read after the fixes.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

from safe_envs.safety_gymnasium_bridge.genuine_package import load_genuine_package

Snapshot = tuple[str, bytes]  # "module:class", the pickled attributes


def snapshot(inner: Any) -> Snapshot:
    """Return a genuine environment as bytes, without its windows and OpenGL contexts."""
    attributes = dict(vars(inner))
    if "task" in attributes:
        attributes["task"] = task = copy.copy(attributes["task"])
        task.viewer, task._viewers = None, {}
    if "mujoco_renderer" in attributes:
        attributes["mujoco_renderer"] = renderer = copy.copy(attributes["mujoco_renderer"])
        renderer.viewer, renderer._viewers = None, {}
    kind = type(inner)
    return f"{kind.__module__}:{kind.__qualname__}", pickle.dumps(attributes)


def restored(taken: Snapshot) -> Any:
    """Return the genuine environment of a snapshot; it continues as the original would."""
    entry_point, attributes = taken
    kind = load_genuine_package().class_at(entry_point)
    inner = kind.__new__(kind)
    vars(inner).update(pickle.loads(attributes))
    return inner
