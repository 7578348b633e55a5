"""Importing safety-gymnasium 1.0.0, once, with all fixes."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium as gym

from safe_envs.safety_gymnasium_bridge.import_fixes import (
    PACKAGE,
    mutable_defaults,
    old_module_names,
    unchanged_registry,
)

VERSION = "1.0.0"
INSTALL_PACKAGE = f"pip install --no-deps safety-gymnasium=={VERSION}"
INSTALL_EXTRA = 'pip install "safe-envs[mujoco,bridge]"'

_lock = threading.RLock()
_loaded: list[GenuinePackage] = []


@dataclass(frozen=True)
class GenuinePackage:
    """The imported package.

    Args:
        module: `safety_gymnasium`.
        registrations: the arguments of its calls of `gymnasium.register`, none of them executed.
    """

    module: Any
    registrations: tuple[dict[str, Any], ...]

    def class_at(self, entry_point: str) -> Any:
        """Return the class of "module:class"."""
        module, _, name = entry_point.partition(":")
        return vars(import_module(module))[name]


def load_genuine_package() -> GenuinePackage:
    """Return the package, imported at the first call; safe to call from several threads.

    After the import `sys.modules` holds the package, what it actually uses (glfw, imageio, mujoco,
    xmltodict, yaml, modules of Gymnasium) and nothing else; `dataclasses.dataclass` and Gymnasium's
    registry are as before. The package's files are never written to.

    Raises:
        DependencyNotInstalled: if the package, its release 1.0.0, or one it needs is missing.
    """
    with _lock:
        if not _loaded:
            _check_version()
            _loaded.append(_import())
        return _loaded[0]


def _check_version() -> None:
    try:
        found = version("safety-gymnasium")
    except PackageNotFoundError:
        raise gym.error.DependencyNotInstalled(
            "this task belongs to the package safety-gymnasium, which is not installed; run: "
            f"{INSTALL_PACKAGE}"
        ) from None
    if found != VERSION:
        raise gym.error.DependencyNotInstalled(
            f"safety-gymnasium {found} is installed, but the bridge is made for {VERSION}; run: "
            f"{INSTALL_PACKAGE}"
        )


def _import() -> GenuinePackage:
    before = set(sys.modules)
    if PACKAGE not in sys.modules:
        _forget_modules(set())  # left over from an import that failed
    try:
        with old_module_names(), mutable_defaults(), unchanged_registry() as registrations:
            module = import_module(PACKAGE)
    except ImportError as error:
        _forget_modules(before)
        raise gym.error.DependencyNotInstalled(
            f"safety-gymnasium needs a package that is not installed ({error}); run: "
            f"{INSTALL_EXTRA}"
        ) from error
    except BaseException:
        _forget_modules(before)
        raise
    from safe_envs.safety_gymnasium_bridge import runtime_fixes

    runtime_fixes.apply_all()
    return GenuinePackage(module, tuple(registrations))


def _forget_modules(kept: set[str]) -> None:
    for name in [n for n in sys.modules if n == PACKAGE or n.startswith(f"{PACKAGE}.")]:
        if name not in kept:
            del sys.modules[name]
