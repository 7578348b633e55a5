"""Signatures and docstrings that list all arguments of an agent, including those of its parts."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agents.agent_settings import Recipe, own_fields

WIDTH = 96  # of docstrings, without the indent of a class
SECTION = r"^Args:\n(.*?)(?=^\S|\Z)"  # of a docstring


class Argument(NamedTuple):
    """One keyword argument."""

    name: str
    annotation: Any  # a type, or its text in the module
    default: Any
    meaning: str
    module: str  # in which the annotation's names are defined


def described_arguments(documented: Any) -> dict[str, str]:
    """Return the text of each entry of a docstring's Args section."""
    section = re.search(SECTION, inspect.getdoc(documented) or "", re.DOTALL | re.MULTILINE)
    if section is None:
        return {}
    entries = re.split(r"^ {4}(?=\**\w+:)", section[1], flags=re.MULTILINE)
    pairs = (entry.split(":", 1) for entry in entries if ":" in entry)
    return {name.strip(): " ".join(meaning.split()) for name, meaning in pairs}


def without_arguments(docstring: str) -> str:
    """Return a cleaned docstring without its Args section."""
    return re.sub(r"\n*" + SECTION, "\n\n", docstring, flags=re.DOTALL | re.MULTILINE).strip()


def arguments_of(shared: type, recipe: Recipe, defaults: Mapping[str, Any]) -> list[Argument]:
    """Return the keyword arguments of the agents with this recipe.

    Args:
        shared: the class whose constructor has the arguments that all agents share.
        recipe: of the agent.
        defaults: of arguments, where they differ from those in the constructor and the parts.
    """
    meanings = described_arguments(shared)
    parameters = inspect.signature(shared.__init__).parameters.values()  # type: ignore[misc]
    found = [
        Argument(p.name, p.annotation, p.default, meanings[p.name], shared.__module__)
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and not p.name.startswith("_")
    ]
    for part in recipe.all_parts():
        meanings = described_arguments(part)
        for one in own_fields(part):
            meaning = meanings.get(one.name, "")
            found.append(Argument(one.name, one.type, one.default, meaning, part.__module__))
    return [a._replace(default=defaults.get(a.name, a.default)) for a in found]


def signature_of(shared: type, arguments: Sequence[Argument]) -> inspect.Signature:
    """Return a constructor's signature: that of the shared one with these keyword arguments."""
    signature = inspect.signature(shared.__init__)  # type: ignore[misc]
    first = [p for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation
        )
        for one in arguments
    ]
    return signature.replace(parameters=[*first, *keywords])


def docstring_of(own: str, shared: type, arguments: Sequence[Argument]) -> str:
    """Return a class's docstring with an Args section, before its Raises section if it has one.

    A docstring that already has an Args section is returned unchanged.
    """
    if re.search(SECTION, inspect.cleandoc(own), re.DOTALL | re.MULTILINE):
        return own
    meanings = described_arguments(shared)
    described = [(name, meanings[name]) for name in ("policy", "env")]
    described += [(one.name, one.meaning) for one in arguments]
    section = "\n".join(["Args:", *(_entry(name, meaning) for name, meaning in described)])
    head, raises, tail = inspect.cleandoc(own).partition("\nRaises:")
    return f"{head.rstrip()}\n\n{section}\n" + (f"{raises}{tail}\n" if raises else "")


def _entry(name: str, meaning: str) -> str:
    return textwrap.fill(
        f"{name}: {meaning}", WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8
    )
