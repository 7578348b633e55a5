"""What an object consists of, where it is made of data, and what it is called."""

from __future__ import annotations

import ctypes
import io
import sys
from collections.abc import Iterator
from types import CellType, FunctionType, MemberDescriptorType, SimpleNamespace
from typing import Any

import numpy as np

HEAP_TYPE = 1 << 9  # flag of all classes but those built into Python and older extensions
EXTENSIONS = ("pybind11", "nanobind")  # modules of the metaclasses of C++ objects
# Packages whose Python classes stand for objects of C libraries.
OF_LIBRARIES = ("mujoco", "pygame", "OpenGL", "glfw", "matplotlib", "PIL", "Box2D", "ale_py")
# Packages whose functions hold no state of an environment.
LIBRARIES = ("numpy", "torch", "gymnasium", "stable_baselines3", "scipy", *OF_LIBRARIES)
C_MEMORY = ctypes.Array | ctypes.Structure | ctypes.Union | ctypes._SimpleCData | ctypes._Pointer
ADDRESS = " at 0x"  # in the text of objects that differ from process to process


def class_name(kind: type) -> str:
    """Return the full name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def is_made_of_data(kind: type) -> bool:
    """Return whether all that an object of this class knows is in its attributes and its items.

    Objects of the standard library, such as threads and locks, are more than that, and so are those
    of C extensions.
    """
    if kind is SimpleNamespace:
        return True
    if issubclass(kind, np.ndarray | C_MEMORY):
        return False
    root = kind.__module__.partition(".")[0]
    if root in sys.stdlib_module_names or root in OF_LIBRARIES:
        return False
    if type(kind).__module__.startswith(EXTENSIONS) or not kind.__flags__ & HEAP_TYPE:
        return False
    has_attributes = ("__dict__", "__slots__")
    return any(name in vars(one) for one in kind.__mro__ for name in has_attributes)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, those in slots included."""
    found = dict(getattr(value, "__dict__", {}))
    for name, slot in _slots(type(value)):
        try:
            found[name] = slot.__get__(value)
        except AttributeError:  # nothing is in it
            continue
    return found


def set_attributes(value: Any, attributes: dict[str, Any]) -> None:
    """Give an object exactly these attributes; its class is not asked."""
    slots = dict(_slots(type(value)))
    for name, slot in slots.items():
        if name in attributes:
            slot.__set__(value, attributes[name])
        elif name in attributes_of(value):
            slot.__delete__(value)
    rest = {name: one for name, one in attributes.items() if name not in slots}
    if hasattr(value, "__dict__"):
        vars(value).clear()
        vars(value).update(rest)


def cells_of(function: FunctionType) -> list[Any]:
    """Return the variables of the function around it that a function of one's own holds."""
    root = function.__module__.partition(".")[0] if function.__module__ else ""
    if root in sys.stdlib_module_names or root in LIBRARIES:
        return []
    return [_content(cell) for cell in function.__closure__ or ()]


def hidden_state_of(value: Any) -> str:
    """Return what an object is whose state matters and cannot be read; "" for all others."""
    if isinstance(value, np.ndarray):
        return f"a {class_name(type(value))}"
    if isinstance(value, io.IOBase):  # a log, most likely
        return ""
    if hasattr(type(value), "__next__"):
        return "an iterator"
    if isinstance(value, C_MEMORY):
        return "memory of a C library"
    return ""


def told(value: Any) -> str:
    """Return what tells two functions, classes or constants apart, the same in every process.

    It is empty for objects such as locks and windows, of which only the class is known.
    """
    name = getattr(value, "__qualname__", None)
    if name is not None:
        line = getattr(getattr(value, "__code__", None), "co_firstlineno", None)
        where = "" if line is None else f", line {line}"
        return f"{getattr(value, '__module__', '')}.{name}{where}"
    if type(value).__module__.partition(".")[0] not in sys.stdlib_module_names:
        return ""
    text = repr(value)
    return "" if ADDRESS in text else text[:200]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None


def _slots(kind: type) -> Iterator[tuple[str, MemberDescriptorType]]:
    for one in kind.__mro__:
        if "__slots__" not in vars(one):
            continue
        for name, slot in vars(one).items():
            if isinstance(slot, MemberDescriptorType):
                yield name, slot
