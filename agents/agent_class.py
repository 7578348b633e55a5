"""Which class a file belongs to, and the arguments that a class of one's own adds."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agents.saving.archive import SavedAgentError
from agents.saving.data_values import Code
from safe_envs.contract.argument_checks import closest_hint

if TYPE_CHECKING:
    from agents.adjustable_agent import AdjustableAgent

TABLE = "agents.named_agents"  # looked up late, because the table itself needs the agents
OF_EVERY_CLASS = ("self", "policy", "env", "device", "_init_setup_model")


def class_of_file(
    name: str, module: str, asked: type[AdjustableAgent], shown: str
) -> type[AdjustableAgent]:
    """Return the class of the agent in a file.

    Nothing is imported for it: it is a named agent, or a class that exists already.

    Args:
        name: of the class, in the file.
        module: of the class, in the file.
        asked: the class whose `load` was called; one without a recipe stands for all.
        shown: the file's name, for errors.

    Raises:
        SavedAgentError: if the file belongs to another class or one that is not known.
    """
    named = import_module(TABLE).NAMED_AGENTS
    kind = _known_class(name, module, asked)
    if "recipe" not in dir(asked):
        if kind is not None:
            return kind
        raise SavedAgentError(
            f"{shown} was saved by the class {name} of {module}, which is none of "
            f"{', '.join(named)}; {closest_hint(name, named)}import that class and "
            f"call {name}.load"
        )
    if kind is asked or (kind is None and name == asked.__qualname__):
        return asked
    caller = f"agents.{name}" if name in named else name
    raise SavedAgentError(
        f"{shown} was saved by {name}, not by {asked.__name__}; call {caller}.load, or "
        "agents.load, which takes the files of all agents"
    )


def own_arguments(agent: AdjustableAgent) -> dict[str, Any]:
    """Return the values of the constructor's arguments that a class of one's own adds.

    They are the attributes of the same names.
    """
    return {
        name: vars(agent)[name] if name in vars(agent) else Code(f"no attribute {name!r}")
        for name in own_argument_names(type(agent))
    }


@cache
def own_argument_names(kind: type[AdjustableAgent]) -> tuple[str, ...]:
    """Return the names of the constructor's arguments that a class of one's own adds."""
    known = {*kind.arguments(), *OF_EVERY_CLASS}
    return tuple(
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if name not in known
        and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    )


def root_of(kind: type[AdjustableAgent]) -> Any:
    """Return the class that all agents come from."""
    return next(one for one in reversed(kind.__mro__) if hasattr(one, "constraint_state"))


def _known_class(
    name: str, module: str, asked: type[AdjustableAgent]
) -> type[AdjustableAgent] | None:
    table = import_module(TABLE)
    if name in table.NAMED_AGENTS and module.partition(".")[0] == "agents":
        kind: type[AdjustableAgent] = table.named_agent(name)
        return kind
    found = [
        k for k in _subclasses(root_of(asked)) if (k.__qualname__, k.__module__) == (name, module)
    ]
    return found[-1] if found else None


def _subclasses(kind: Any) -> Iterator[Any]:
    one: Any
    for one in kind.__subclasses__():
        yield one
        yield from _subclasses(one)
