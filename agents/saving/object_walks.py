"""What the forms of objects and the walks through objects know of each other."""

from __future__ import annotations

from typing import Any, Protocol

Node = dict[str, Any]  # the content of one object: values that `ValueWriter` writes
MISSING: Any = object()  # in place of an object that the new one does not have


class NotRestorableError(ValueError):
    """An object cannot be put into the state of another one."""


class Taking(Protocol):
    """The walk through an original."""

    def refer(self, value: Any) -> Any:
        """Return the reference to an object, or a number, text or None itself."""


class Putting(Protocol):
    """The walk through the new object."""

    def get(self, data: Any, existing: Any, place: str) -> Any:
        """Return the object of a reference; `existing` is in its place."""

    def free(self, existing: Any, node: Node) -> bool:
        """Return whether an object has the class of a node and is used for no other one."""

    def claim(self, node: Node, made: Any) -> None:
        """Use an object for a node, before its parts are put into it."""

    def class_of(self, node: Node, existing: Any, place: str) -> type[Any]:
        """Return the class of a node; NotRestorableError if the new object has none of it."""


class Form(Protocol):
    """How one kind of object becomes data."""

    def fits(self, kind: type) -> bool:
        """Return whether it is for objects of exactly this class."""

    def take(self, walk: Taking, value: Any) -> Node:
        """Return the content of an object, copied."""

    def put(self, walk: Putting, node: Node, existing: Any, place: str) -> Any:
        """Return the object of a node."""
