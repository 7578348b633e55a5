"""Unknown arguments are errors that name the closest match and the known arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from safe_envs.contract.argument_checks import unknown_name

P = ParamSpec("P")
R = TypeVar("R")


def known_arguments(
    *passed_on_to: Callable[..., Any],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that makes a constructor or factory reject unknown keyword arguments.

    Python's own error names only the unknown argument.

    Args:
        passed_on_to: functions or classes that get the `**arguments` of the decorated function;
            their arguments are known, too.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = set().union(*map(_named_arguments, (function, *passed_on_to)))
        owner = function.__qualname__.removesuffix(".__init__")
        if owner == function.__name__:  # not in a class
            owner = f"{function.__module__.rpartition('.')[2]}.{owner}"

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if not known.issuperset(kwargs):
                unknown = next(name for name in kwargs if name not in known)
                raise TypeError(unexpected_argument(f"{owner}()", unknown, known))
            return function(*args, **kwargs)

        return checked

    return decorate


def unexpected_argument(owner: str, name: str, known: Iterable[str]) -> str:
    """Return "OWNER got an unexpected keyword argument 'NAME'; did you mean ...? Known: ...".

    It begins like Python's own message, because libraries that try out arguments, such as torchrl
    with `frameskip`, recognize these words.
    """
    hint = unknown_name("argument", name, known).removeprefix("unknown argument")
    return f"{owner} got an unexpected keyword argument{hint}"


def _named_arguments(function: Callable[..., Any]) -> set[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters
    return {name for name, each in parameters.items() if each.kind in kinds and name != "self"}
