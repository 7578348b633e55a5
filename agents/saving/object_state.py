"""The state of an object as data, to be put into one of the same making in another process.

`taken` walks through an object and everything it holds: attributes, lists, dictionaries, arrays,
random generators, MuJoCo's models and data. What is shared stays shared. `put_back` writes that
into an object that was made the same way and has taken a few steps. From the names in the data it
makes plain containers, arrays and generators, and objects of classes that the new object holds
already, without calling their code; so data from someone else cannot run anything.

Functions, locks, threads and objects of C extensions stay those of the new object. Whoever depends
on what is in them is not restored: compare a restored object with its original before relying on
it.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from agents.saving.object_forms import FORMS, form_of
from agents.saving.object_parts import class_name
from agents.saving.object_walks import MISSING, Node, NotRestorableError

LEAVES = (type(None), bool, int, float, str)
REFERENCE = "#"
USUAL_CLASSES = (list, tuple, set, frozenset, dict, deque, OrderedDict, defaultdict, np.ndarray)


class ObjectState(NamedTuple):
    """What `taken` returns: values that `ValueWriter` writes."""

    root: Any  # a number, text or None, or {"#": number of a node}
    nodes: list[Node]


def taken(root: Any) -> ObjectState:
    """Return the state of an object and everything it holds, as copies.

    Raises:
        NotRestorableError: if it is nested too deeply, or holds arrays of records.
    """
    walk = _Walk()
    try:
        return ObjectState(walk.refer(root), walk.nodes)
    except RecursionError as error:
        raise NotRestorableError(f"{class_name(type(root))} is nested too deeply") from error


def put_back(root: Any, state: ObjectState, classes: Sequence[type] = ()) -> Any:
    """Put a state into an object that was made as the original was; return the object.

    Args:
        root: it is changed, also if an error is raised.
        state: from `taken`.
        classes: of which objects may be made, beside those that the object holds.

    Raises:
        NotRestorableError: if the object does not have the form of the original.
    """
    try:
        return _Putting(state.nodes, [*USUAL_CLASSES, *_classes_in(root), *classes]).get(
            state.root, root, "it"
        )
    except NotRestorableError:
        raise
    except (RecursionError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise NotRestorableError(f"the state does not fit: {error!r}") from error


class _Walk:
    """The walk through an original; it also tells the classes of all objects."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.objects: list[Any] = []  # by node; an id is that of an object as long as it lives
        self._numbers: dict[int, int] = {}  # by the object's id

    def refer(self, value: Any) -> Any:
        kind: Any = type(value)
        if kind in LEAVES:
            return value
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.nodes)
            self.objects.append(value)
            self.nodes.append({})
            form = form_of(kind)
            node = {"form": form, "class": class_name(kind), **FORMS[form].take(self, value)}
            self.nodes[number] = node
        return {REFERENCE: number}


def _classes_in(root: Any) -> set[type]:
    """Return the classes of an object and all that it holds."""
    walk = _Walk()
    walk.refer(root)
    return {type(one) for one in walk.objects}


class _Putting:
    """The walk through the new object."""

    def __init__(self, nodes: list[Node], classes: Sequence[type]) -> None:
        self._nodes = nodes
        self._classes = {class_name(kind): kind for kind in classes}
        self._made: dict[int, Any] = {}  # by node
        self._begun: set[int] = set()
        self._claimed: dict[int, Any] = {}  # objects that stand for a node, by id
        self._number_of = {id(node): number for number, node in enumerate(nodes)}

    def get(self, data: Any, existing: Any, place: str) -> Any:
        if not isinstance(data, dict):
            return data
        number = data[REFERENCE]
        if number in self._made:
            return self._made[number]
        if number in self._begun:
            raise NotRestorableError(f"{place} holds itself")
        self._begun.add(number)
        node = self._nodes[number]
        made = FORMS[node["form"]].put(self, node, existing, place)
        self.claim(node, made)
        return made

    def free(self, existing: Any, node: Node) -> bool:
        return class_name(type(existing)) == node["class"] and id(existing) not in self._claimed

    def claim(self, node: Node, made: Any) -> None:
        self._made[self._number_of[id(node)]] = made
        self._claimed[id(made)] = made

    def class_of(self, node: Node, existing: Any, place: str) -> type[Any]:
        name = node["class"]
        if existing is not MISSING and class_name(type(existing)) == name:
            return type(existing)
        if name not in self._classes:
            raise NotRestorableError(f"{place} was a {name}, and the new one holds none")
        return self._classes[name]
