"""The forms in which objects become data, one for each kind of object.

A form turns an object into a node, in which other objects are references. `put` returns the object
of a node: the one that is in its place already, with the node's content, or a new one.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from functools import lru_cache
from types import FunctionType
from typing import Any

import numpy as np

from agents.saving.array_forms import ARRAY_FORMS
from agents.saving.object_parts import (
    attributes_of,
    cells_of,
    class_name,
    hidden_state_of,
    is_made_of_data,
    set_attributes,
    told,
)
from agents.saving.object_walks import MISSING, Form, Node, NotRestorableError, Putting, Taking
from agents.saving.state_forms import STATE_FORMS

LONG = 16  # entries of one type from which on they are kept as an array
NUMBERS: dict[type, str] = {float: "float64", int: "int64", bool: "bool"}
LARGEST_INT = 2**62


class _Items:
    """Lists, tuples, sets and deques; their classes with names, too."""

    def fits(self, kind: type) -> bool:
        return kind in (list, tuple, set, frozenset, deque) or (
            issubclass(kind, tuple) and hasattr(kind, "_fields")
        )

    def take(self, walk: Taking, value: Any) -> Node:
        numbers = _as_array(value)
        node: Node = {} if numbers is None else {"numbers": numbers}
        if numbers is None:
            node["items"] = [walk.refer(one) for one in value]
        if isinstance(value, deque):
            node["maxlen"] = value.maxlen
        return node

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        kind = walk.class_of(node, existing, place)
        old = list(existing) if isinstance(existing, list | tuple | deque) else []
        made: Any = MISSING
        if issubclass(kind, list | set | deque):
            usual = deque(maxlen=node["maxlen"]) if kind is deque else kind()
            fits = getattr(existing, "maxlen", None) == node.get("maxlen")
            made = existing if fits and walk.free(existing, node) else usual
            walk.claim(node, made)
        items = node["numbers"].tolist() if "numbers" in node else []
        for i, one in enumerate(node.get("items", ())):
            items.append(walk.get(one, old[i] if i < len(old) else MISSING, f"{place}[{i}]"))
        if made is MISSING:
            if type(existing) is kind and isinstance(existing, tuple) and _same(existing, items):
                return existing
            return kind(*items) if hasattr(kind, "_fields") else kind(items)
        made.clear()
        fill = made.update if kind is set else made.extend
        fill(items)
        return made


class _Mappings:
    """Dictionaries and the classes derived from them, in their order."""

    def fits(self, kind: type) -> bool:
        return issubclass(kind, dict)

    def take(self, walk: Taking, value: Any) -> Node:
        pairs = [[walk.refer(key), walk.refer(one)] for key, one in value.items()]
        own = {name: walk.refer(one) for name, one in attributes_of(value).items()}
        factory = walk.refer(getattr(value, "default_factory", None))
        return {"items": pairs, "attributes": own, "factory": factory}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        kind = walk.class_of(node, existing, place)
        made = existing if walk.free(existing, node) else _new(kind)
        walk.claim(node, made)
        before = dict(existing) if isinstance(existing, dict) else {}
        keys = list(before)
        pairs = {}
        for i, (key, one) in enumerate(node["items"]):
            name = walk.get(key, keys[i] if i < len(keys) else MISSING, f"{place} key {i}")
            pairs[name] = walk.get(one, before.get(name, MISSING), f"{place}[{name!r}]")
        base = OrderedDict if issubclass(kind, OrderedDict) else dict  # a class's own may do more
        base.clear(made)
        for name, one in pairs.items():
            base.__setitem__(made, name, one)
        _put_attributes(walk, node, made, existing, place)
        factory = getattr(existing, "default_factory", None)
        if hasattr(made, "default_factory"):
            made.default_factory = walk.get(node["factory"], factory, f"{place} factory")
        return made


class _Members:
    """Members of enumerations."""

    def fits(self, kind: type) -> bool:
        return issubclass(kind, enum.Enum)

    def take(self, walk: Taking, value: Any) -> Node:
        return {"name": value.name}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        return walk.class_of(node, existing, place)[node["name"]]


class _Objects:
    """Objects of classes written in Python, by their attributes."""

    def fits(self, kind: type) -> bool:
        return is_made_of_data(kind)

    def take(self, walk: Taking, value: Any) -> Node:
        attributes = {name: walk.refer(one) for name, one in attributes_of(value).items()}
        node: Node = {"attributes": attributes}
        if isinstance(value, list | deque):
            node["items"] = [walk.refer(one) for one in value]
        return node

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        kind = walk.class_of(node, existing, place)
        made = existing if walk.free(existing, node) else _new(kind)
        walk.claim(node, made)
        if "items" in node:
            old = list(existing) if isinstance(existing, list | deque) else []
            items = [
                walk.get(one, old[i] if i < len(old) else MISSING, f"{place}[{i}]")
                for i, one in enumerate(node["items"])
            ]
            made.clear()
            made.extend(items)
        _put_attributes(walk, node, made, existing, place)
        return made


class _Functions:
    """Functions stay those of the new object, but what a function of one's own holds is put in."""

    def fits(self, kind: type) -> bool:
        return kind is FunctionType

    def take(self, walk: Taking, value: Any) -> Node:
        return {"told": told(value), "cells": [walk.refer(one) for one in cells_of(value)]}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        made = FORMS["kept"].put(walk, node, existing, place)
        walk.claim(node, made)
        before = cells_of(made)
        if len(before) != len(node["cells"]):
            raise NotRestorableError(f"{place} holds {len(before)} variables in the new one")
        for i, data in enumerate(node["cells"]):
            content = walk.get(data, before[i], f"{place} variable {i}")
            if content is not before[i]:
                made.__closure__[i].cell_contents = content
        return made


class _Kept:
    """Everything else stays what it is in the new object: locks, threads, windows, classes."""

    def fits(self, kind: type) -> bool:
        return True

    def take(self, walk: Taking, value: Any) -> Node:
        return {"told": told(value), "hides": hidden_state_of(value)}

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        if node.get("hides"):
            raise NotRestorableError(f"{place} is {node['hides']}, whose state cannot be read")
        found = "nothing" if existing is MISSING else told(existing) or class_name(type(existing))
        wanted = node["told"] or node["class"]
        if existing is MISSING or class_name(type(existing)) != node["class"] or found != wanted:
            raise NotRestorableError(
                f"{place} was {wanted}, which is not data, and is {found} in the new one"
            )
        return existing


FORMS: dict[str, Form] = {
    "items": _Items(),
    "mapping": _Mappings(),
    **ARRAY_FORMS,
    **STATE_FORMS,
    "member": _Members(),
    "object": _Objects(),
    "function": _Functions(),
    "kept": _Kept(),
}


@lru_cache(maxsize=4096)
def form_of(kind: type) -> str:
    """Return the name of the form for objects of a class."""
    return next(name for name, form in FORMS.items() if form.fits(kind))


def _same(existing: Any, items: list[Any]) -> bool:
    """Return whether a sequence holds exactly these objects."""
    return len(existing) == len(items) and all(
        one is other for one, other in zip(existing, items, strict=True)
    )


def _new(kind: Any) -> Any:
    """Return an object of a class without calling its constructor."""
    return kind.__new__(kind)


def _put_attributes(walk: Putting, node: Node, made: Any, existing: Any, place: str) -> None:
    before = attributes_of(existing) if type(existing) is type(made) else {}
    attributes = {
        name: walk.get(one, before.get(name, MISSING), f"{place}.{name}")
        for name, one in node["attributes"].items()
    }
    if attributes or before:
        set_attributes(made, attributes)


def _as_array(value: Any) -> np.ndarray | None:
    """Return many numbers of one type as an array; None for everything else."""
    if len(value) < LONG:
        return None
    kinds = set(map(type, value))
    dtype = NUMBERS.get(kinds.pop()) if len(kinds) == 1 else None
    if dtype is None or (dtype == "int64" and max(map(abs, value)) > LARGEST_INT):
        return None
    return np.array(list(value), dtype=dtype)
