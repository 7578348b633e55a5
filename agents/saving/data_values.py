"""Values as data: JSON, with arrays kept apart, for everything that a setting or a state can be.

A value that JSON has no form for becomes an object whose entry "$" tells its kind:
{"$": "array", "tensor": "update/dual/multiplier", "dtype": "float64"}. Reading accepts these kinds
and no others, and makes only plain values, arrays, spaces, schedules and linear controllers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agents.data_objects import FORMS
from agents.saving.archive import SavedAgentError
from agents.saving.named_classes import class_with_name, name_of_class

KIND = "$"
DEEPEST = 40  # nesting of values in a file
LONGEST_NAME = 200  # characters, in errors
SPECIAL_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
SIGNED = {"uint16": "int16", "uint32": "int32", "uint64": "int64"}  # stored as these, bit by bit
OBJECTS = {form.kind for form in FORMS.values()}
ARRAY_TYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64"),
    *SIGNED,
}


class NotDataError(TypeError):
    """A value is code, or an object that a file cannot hold."""


@dataclass(frozen=True)
class Code:
    """Stands in a file for a value that it cannot hold.

    Args:
        what: that was.
    """

    what: str


class ValueWriter:
    """Turns values into JSON; `tensors` collects the arrays by the place of the value.

    Args:
        tensors: name and content of the arrays so far; new ones are added.
    """

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def write(self, value: Any, place: str) -> Any:
        """Return a value as JSON.

        Args:
            value: numbers, strings, None, lists, tuples, dictionaries, arrays, tensors, spaces,
                schedules of Stable-Baselines3, classes of `named_classes`, and combinations.
            place: of the value, which names its array.

        Raises:
            NotDataError: for anything else.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | str | int):
            return value
        if isinstance(value, float):
            if math.isfinite(value):
                return value
            return {KIND: "float", "value": str(value)}
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, np.dtype):
            return value.name
        if isinstance(value, torch.Tensor | np.ndarray):
            return self._array(value, place)
        if isinstance(value, list | tuple):
            items = [self.write(one, f"{place}/{i}") for i, one in enumerate(value)]
            return items if isinstance(value, list) else {KIND: "tuple", "items": items}
        if type(value) not in OBJECTS and isinstance(value, Mapping):  # a Dict space is one as well
            return self._mapping(value, place)
        return self._object(value, place)

    def write_or_name(self, value: Any, place: str) -> Any:
        """Return a value as JSON, or what it was if a file cannot hold it (`Code`)."""
        apart: dict[str, torch.Tensor] = {}
        if isinstance(value, Code):
            return {KIND: "code", "what": value.what}
        try:
            data = ValueWriter(apart).write(value, place)
        except NotDataError as error:
            return {KIND: "code", "what": str(error)}
        self._tensors.update(apart)
        return data

    def _array(self, value: torch.Tensor | np.ndarray, place: str) -> dict[str, Any]:
        if isinstance(value, torch.Tensor):
            self._tensors[place] = value.detach()
            return {KIND: "tensor", "tensor": place}
        name = value.dtype.name
        if name not in ARRAY_TYPES:
            raise NotDataError(f"an array of {value.dtype}")
        native = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))).reshape(
            value.shape
        )
        self._tensors[place] = torch.from_numpy(native.view(SIGNED.get(name, name)))
        return {KIND: "array", "tensor": place, "dtype": name}

    def _mapping(self, value: Mapping[Any, Any], place: str) -> dict[str, Any]:
        if all(isinstance(key, str) for key in value) and KIND not in value:
            return {key: self.write(one, f"{place}/{key}") for key, one in value.items()}
        pairs = [
            [self.write(key, f"{place}/{i}/key"), self.write(one, f"{place}/{i}")]
            for i, (key, one) in enumerate(value.items())
        ]
        return {KIND: "pairs", "items": pairs}

    def _object(self, value: Any, place: str) -> dict[str, Any]:
        if isinstance(value, type):
            name = name_of_class(value)
            if name is not None:
                return {KIND: "class", "name": name}
        for name, form in FORMS.items():
            if form.kind is type(value):
                parts = ((part, getattr(value, part)) for part in form.parts)
                return {KIND: name, **{n: self.write(v, f"{place}/{n}") for n, v in parts}}
        raise NotDataError(described(value))


class ValueReader:
    """Turns JSON back into values.

    Args:
        tensors: of the file.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors
        self._left = set(tensors)

    def read(self, data: Any, place: str, depth: int = 0) -> Any:
        """Return the value that `ValueWriter.write` turned into this JSON.

        Raises:
            SavedAgentError: if it is no such JSON.
        """
        if depth > DEEPEST:
            raise SavedAgentError(f"{place} is nested too deeply")
        if isinstance(data, list):
            return [self.read(one, f"{place}/{i}", depth + 1) for i, one in enumerate(data)]
        if not isinstance(data, dict):
            return data
        if KIND not in data:
            return {key: self.read(v, f"{place}/{key}", depth + 1) for key, v in data.items()}
        entries = {key: one for key, one in data.items() if key != KIND}
        try:
            return self._special(data[KIND], entries, place, depth + 1)
        except SavedAgentError:
            raise
        except Exception as error:  # the constructors of spaces raise many kinds
            raise SavedAgentError(f"{place} in the file cannot be read: {error!r}") from error

    def check_all_used(self) -> None:
        """Raise SavedAgentError if the file holds tensors that belong to no value."""
        if self._left:
            raise SavedAgentError(
                f"the file holds the tensor {min(self._left)!r}, which belongs to nothing"
            )

    def _special(self, kind: Any, entries: dict[str, Any], place: str, depth: int) -> Any:
        if kind == "float":
            return SPECIAL_FLOATS[entries["value"]]
        if kind == "tuple":
            return tuple(self._items(entries, place, depth))
        if kind == "pairs":
            return {key: one for key, one in self._items(entries, place, depth)}
        if kind in ("array", "tensor"):
            return self._array(kind, entries)
        if kind == "code":
            return Code(str(entries["what"])[:LONGEST_NAME])
        if kind == "class":
            return _allowed_class(entries["name"], place)
        if kind in FORMS and {*entries, *FORMS[kind].later} == set(FORMS[kind].parts):
            values = {n: self.read(v, f"{place}/{n}", depth) for n, v in entries.items()}
            return FORMS[kind].make(**values)
        raise SavedAgentError(f"{place} in the file is of the unknown kind {str(kind)[:80]!r}")

    def _items(self, entries: dict[str, Any], place: str, depth: int) -> list[Any]:
        items = entries["items"]
        if not isinstance(items, list):
            raise SavedAgentError(f"{place} in the file has no list of items")
        return [self.read(one, f"{place}/{i}", depth) for i, one in enumerate(items)]

    def _array(self, kind: str, entries: dict[str, Any]) -> torch.Tensor | np.ndarray:
        name = entries["tensor"]
        if name not in self._left:
            raise SavedAgentError(
                f"the tensor {str(name)[:80]!r} is missing in the file, or belongs to two values"
            )
        self._left.remove(name)
        tensor = self._tensors[name]
        if kind == "tensor":
            return tensor
        dtype = entries["dtype"]
        array = tensor.numpy()
        if dtype not in ARRAY_TYPES or array.dtype.name != SIGNED.get(dtype, dtype):
            raise SavedAgentError(f"{name} has numbers of {array.dtype}, not of {dtype!r}")
        return array.view(dtype)


def described(value: Any) -> str:
    """Return what to call a value that a file cannot hold: "the function half of my_module"."""
    kind = type(value).__name__
    if isinstance(value, type):
        kind, name = "class", value.__qualname__
    else:
        name = getattr(value, "__qualname__", "")
    module = getattr(value, "__module__", type(value).__module__)
    return f"the {kind} {name + ' ' if name else ''}of {module}"


def _allowed_class(name: Any, place: str) -> type:
    found = class_with_name(name) if isinstance(name, str) else None
    if found is None:
        raise SavedAgentError(
            f"{place} in the file is the class {str(name)[:80]!r}; only classes of torch.nn, "
            "torch.optim, stable_baselines3.common.torch_layers and agents are taken from a file: "
            "pass others in custom_objects"
        )
    return found
