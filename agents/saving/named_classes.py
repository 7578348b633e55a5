"""Classes in a file by name: only those of a few modules, and only as the kind they have there.

A name in a file is looked up among classes that exist already; nothing is imported for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from stable_baselines3.common import torch_layers

# Where classes are looked up, and what they have to be there.
MODULES: Mapping[str, tuple[ModuleType, type]] = MappingProxyType(
    {
        "torch.nn": (torch.nn, torch.nn.Module),
        "torch.optim": (torch.optim, torch.optim.Optimizer),
        "stable_baselines3.common.torch_layers": (torch_layers, torch.nn.Module),
    }
)
OWN = "agents."  # modules of this package that are in use


def name_of_class(kind: type) -> str | None:
    """Return the name under which a file can refer to a class; None if it cannot."""
    for name, (module, base) in MODULES.items():
        if issubclass(kind, base) and vars(module).get(kind.__name__) is kind:
            return f"{name}.{kind.__name__}"
    module_name = kind.__module__
    if module_name.startswith(OWN) and issubclass(kind, torch.nn.Module):
        found = vars(sys.modules[module_name]).get(kind.__name__)
        return f"{module_name}.{kind.__name__}" if found is kind else None
    return None


def class_with_name(name: str) -> type | None:
    """Return the class that `name_of_class` gave this name; None if there is none."""
    module_name, _, class_name = name.rpartition(".")
    found: Any = None
    if module_name in MODULES:
        found = vars(MODULES[module_name][0]).get(class_name)
    elif module_name.startswith(OWN) and module_name in sys.modules:
        found = vars(sys.modules[module_name]).get(class_name)
    return found if isinstance(found, type) and name_of_class(found) == name else None
