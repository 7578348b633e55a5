"""MuJoCo's model and data as arrays.

A model is MuJoCo's own binary form. Data are the state that MuJoCo integrates, by its own function,
and all arrays of a fixed size that are computed from it, because an environment may look at them
before the next step. What depends on the number of contacts is computed anew by every step.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

FILE = "model.mjb"  # a name in memory
STATE = "integration state"


def _mujoco() -> Any:
    return sys.modules.get("mujoco")  # without it there are no such objects


def is_model(kind: type) -> bool:
    """Return whether it is the class of models."""
    mujoco = _mujoco()
    return mujoco is not None and kind is mujoco.MjModel


def is_data(kind: type) -> bool:
    """Return whether it is the class of a simulation's data."""
    mujoco = _mujoco()
    return mujoco is not None and kind is mujoco.MjData


def bytes_of_model(model: Any) -> np.ndarray:
    """Return a model as uint8."""
    mujoco = _mujoco()
    buffer = np.empty(mujoco.mj_sizeModel(model), dtype=np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer


def model_from(content: np.ndarray) -> Any:
    """Return the model that `bytes_of_model` turned into bytes."""
    return _mujoco().MjModel.from_binary_path(FILE, {FILE: content.tobytes()})


def arrays_of_data(data: Any) -> dict[str, np.ndarray]:
    """Return copies of the arrays of a simulation, by name."""
    mujoco = _mujoco()
    kind = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    state = np.empty(mujoco.mj_stateSize(data.model, kind))
    mujoco.mj_getState(data.model, data, state, kind)
    return {STATE: state, **{name: one.copy() for name, one in _derived(data).items()}}


def put_into_data(data: Any, arrays: dict[str, np.ndarray]) -> None:
    """Give a simulation of the same model these arrays."""
    mujoco = _mujoco()
    kind = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_setState(data.model, data, arrays[STATE], kind)
    for name, array in _derived(data).items():
        saved = arrays.get(name)
        if saved is not None and saved.shape == array.shape:
            array[...] = saved


def new_data(model: Any) -> Any:
    """Return a simulation of a model."""
    return _mujoco().MjData(model)


def _derived(data: Any) -> dict[str, np.ndarray]:
    """Return the arrays that a simulation computes, without those of contacts and constraints."""
    found = {}
    for name in _names(type(data)):
        array = getattr(data, name)
        if isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.flags.writeable:
            found[name] = array
    return found


_NAMES: dict[type, list[str]] = {}


def _names(kind: type) -> list[str]:
    if kind not in _NAMES:
        varying = ("_", "efc_", "efm_", "iefc_", "map_", "contact", "dof_", "island_", "bind")
        _NAMES[kind] = [
            name
            for name, one in vars(kind).items()
            if isinstance(one, property) and not name.startswith(varying)
        ]
    return _NAMES[kind]
