"""Arrays and numbers of NumPy as data."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.saving.object_walks import MISSING, Form, Node, NotRestorableError, Putting, Taking


class _Arrays:
    """NumPy's arrays; what is put into an array also changes views of it."""

    def fits(self, kind: type) -> bool:
        return kind is np.ndarray  # other kinds may hold more

    def take(self, walk: Taking, value: Any) -> Node:
        node: Node = {"writeable": bool(value.flags.writeable)}
        if _is_part_of_array(value):
            part = {"offset": _address(value) - _address(value.base), "shape": list(value.shape)}
            part |= {"strides": list(value.strides), "dtype": value.dtype.str}
            return {**node, "base": walk.refer(value.base), "part": part}
        if value.dtype.hasobject:
            return {
                **node,
                "shape": list(value.shape),
                "items": [walk.refer(o) for o in value.flat],
            }
        return {**node, **_numbers_node(value)}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        if "base" in node:
            base = walk.get(node["base"], getattr(existing, "base", MISSING), f"{place}.base")
            return _part(base, node, existing if walk.free(existing, node) else None)
        if "items" in node:
            old = list(existing.flat) if isinstance(existing, np.ndarray) else []
            content = np.empty(len(node["items"]), dtype=object)
            for i, one in enumerate(node["items"]):
                content[i] = walk.get(one, old[i] if i < len(old) else MISSING, f"{place}[{i}]")
            content = content.reshape(node["shape"])
        else:
            content = _numbers(node)
        if not walk.free(existing, node) or not _has_form(existing, content):
            content.setflags(write=node["writeable"])
            return content
        if existing.flags.writeable:
            existing[...] = content
        elif existing.tobytes() != content.tobytes():
            content.setflags(write=False)
            return content
        return existing


class _Scalars:
    """NumPy's numbers, complex numbers and bytes, which never change."""

    def fits(self, kind: type) -> bool:
        return issubclass(kind, np.generic | complex | bytes)

    def take(self, walk: Taking, value: Any) -> Node:
        return _numbers_node(np.asarray(value))

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        number = _numbers(node)[()]
        return number.item() if node["class"].startswith("builtins.") else number


def _is_part_of_array(value: np.ndarray) -> bool:
    """Return whether an array is a part of another one, in one piece of memory."""
    base = value.base
    return (
        type(base) is np.ndarray
        and not value.dtype.hasobject
        and not value.dtype.names
        and not base.dtype.hasobject
        and bool(base.flags.c_contiguous)
    )


def _part(base: np.ndarray, node: Node, existing: np.ndarray | None) -> np.ndarray:
    """Return the part of an array that a node describes, which may exist already."""
    part = node["part"]
    dtype, shape, strides = np.dtype(part["dtype"]), tuple(part["shape"]), tuple(part["strides"])
    made = np.ndarray(shape, dtype, base, part["offset"], strides)
    if made.flags.writeable and not node["writeable"]:
        made.setflags(write=False)
    if (
        existing is not None
        and existing.base is base
        and existing.flags.writeable == made.flags.writeable
        and existing.__array_interface__ == made.__array_interface__
    ):
        return existing
    return made


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _numbers_node(value: np.ndarray) -> Node:
    if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8 and value.dtype.isnative:
        return {"value": np.array(value)}
    if value.dtype.names:
        raise NotRestorableError("arrays of records are not kept")
    content = np.frombuffer(value.tobytes(), dtype=np.uint8)
    return {"dtype": value.dtype.str, "shape": list(value.shape), "bytes": content}


def _numbers(node: Node) -> np.ndarray:
    if "value" in node:
        return np.array(node["value"])
    content = np.frombuffer(node["bytes"].tobytes(), dtype=np.dtype(node["dtype"]))
    return content.reshape(node["shape"]).copy()


def _has_form(existing: np.ndarray, content: np.ndarray) -> bool:
    return existing.shape == content.shape and existing.dtype == content.dtype


ARRAY_FORMS: dict[str, Form] = {"array": _Arrays(), "scalar": _Scalars()}
