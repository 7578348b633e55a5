"""The arguments of the package's classes, so that unknown ones are refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable

from safe_envs.contract.argument_names import unexpected_argument

GIVEN_BY_ROBOTS = {  # which a robot's class passes to MuJoCo's, so that nobody else can
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
    """Raise TypeError, with the known arguments and the closest, if one given is unknown."""
    for name in given:
        if name not in known:
            raise TypeError(unexpected_argument(f"{owner}()", name, known))
