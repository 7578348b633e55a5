"""Objects that a file can hold as data by their parts: spaces, schedules and linear controllers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from agents.schedules import LinearDecay
from safe_envs.contract.argument_checks import check_number
from safe_envs.contract.backup_policy import LinearFeedback
from safe_envs.contract.one_hot_box import OneHotBox


class ObjectForm(NamedTuple):
    """How an object becomes data."""

    kind: type  # exactly this class, no subclass
    parts: tuple[str, ...]  # the attributes that say everything about it
    make: Callable[..., Any]  # from the parts
    later: tuple[str, ...] = ()  # parts that older files lack; then `make` has its default


def _box(low: np.ndarray, high: np.ndarray) -> spaces.Box:
    return spaces.Box(low, high, low.shape, low.dtype)


def _one_hot(low: np.ndarray) -> OneHotBox:
    (size,) = low.shape  # of an array that is in the file, so that no number there sets the memory
    return OneHotBox(size)


def _discrete(n: int, start: int, dtype: str) -> spaces.Discrete:
    if str(dtype) == "int64":  # Gymnasium before 1.4 has no other
        return spaces.Discrete(n, start=start)
    return spaces.Discrete(n, start=start, dtype=np.dtype(dtype).type)


def _multi_discrete(nvec: np.ndarray, start: np.ndarray) -> spaces.MultiDiscrete:
    return spaces.MultiDiscrete(nvec, dtype=nvec.dtype.type, start=start)


def _multi_binary(n: Any) -> spaces.MultiBinary:
    return spaces.MultiBinary(n.tolist() if isinstance(n, np.ndarray) else n)


def _dict(spaces: Mapping[str, gym.Space]) -> gym.spaces.Dict:
    return gym.spaces.Dict(list(spaces.items()))  # a list keeps its order, a dictionary is sorted


def _linear_schedule(start: float, end: float, end_fraction: float) -> LinearSchedule:
    for name, value in (("start", start), ("end", end)):
        check_number(name, value)
    check_number("end_fraction", end_fraction, low=0.0, open_low=True)
    return LinearSchedule(start, end, end_fraction)


def _constant_schedule(val: float) -> ConstantSchedule:
    check_number("val", val)
    return ConstantSchedule(val)


def _float_schedule(value_schedule: Any) -> FloatSchedule:
    if not isinstance(value_schedule, ConstantSchedule | LinearSchedule | LinearDecay):
        raise TypeError(f"value_schedule is {value_schedule!r}")
    return FloatSchedule(value_schedule)


def _feedback(
    gain: np.ndarray, low: float, high: float, full_share_radius: float
) -> LinearFeedback:
    if np.ndim(gain) != 2:
        raise ValueError(f"gain has shape {np.shape(gain)}; it has to be a matrix (a, n)")
    return LinearFeedback(gain, low, high, full_share_radius)


FORMS: Mapping[str, ObjectForm] = MappingProxyType(
    {
        "Box": ObjectForm(spaces.Box, ("low", "high"), _box),
        "OneHotBox": ObjectForm(OneHotBox, ("low",), _one_hot),
        "Discrete": ObjectForm(spaces.Discrete, ("n", "start", "dtype"), _discrete),
        "MultiDiscrete": ObjectForm(spaces.MultiDiscrete, ("nvec", "start"), _multi_discrete),
        "MultiBinary": ObjectForm(spaces.MultiBinary, ("n",), _multi_binary),
        "Dict": ObjectForm(spaces.Dict, ("spaces",), _dict),
        "Tuple": ObjectForm(spaces.Tuple, ("spaces",), spaces.Tuple),
        "ConstantSchedule": ObjectForm(ConstantSchedule, ("val",), _constant_schedule),
        "LinearDecay": ObjectForm(
            LinearDecay, ("start", "end", "part"), LinearDecay, later=("part",)
        ),
        "LinearSchedule": ObjectForm(
            LinearSchedule, ("start", "end", "end_fraction"), _linear_schedule
        ),
        "FloatSchedule": ObjectForm(FloatSchedule, ("value_schedule",), _float_schedule),
        "LinearFeedback": ObjectForm(
            LinearFeedback, ("gain", "low", "high", "full_share_radius"), _feedback
        ),
    }
)
