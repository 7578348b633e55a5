"""The arguments of the package's classes, so that errors can name unknown ones."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable

from safe_envs.contract.argument_names import unexpected_argument

GIVEN_BY_ROBOTS = {  # set by a robot's class itself, so users cannot pass them
    "default_camera_config",
    "frame_skip",
    "model_path",
    "observation_space",
}
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def arguments_of(kind: type) -> set[str]:
    """Return the names of a class's arguments, with those that it passes on to its bases."""
    names: set[str] = set()
    for each in kind.__mro__:
        if "__init__" in vars(each):
            parameters = inspect.signature(vars(each)["__init__"]).parameters.values()
            names |= {p.name for p in parameters if p.kind in NAMED and p.name != "self"}
            if all(p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters):
                break
    return names - GIVEN_BY_ROBOTS


def refuse_unknown(owner: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise TypeError, with the closest match and the known arguments, if one is unknown."""
    for name in given:
        if name not in known:
            raise TypeError(unexpected_argument(f"{owner}()", name, known))
